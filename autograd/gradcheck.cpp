#include "autograd/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "tensor/random.h"

namespace proxent {
namespace {
std::vector<Variable> as_leaves(const std::vector<Tensor>& inputs) {
  std::vector<Variable> leaves;
  for (const Tensor& input : inputs) leaves.push_back(Variable::leaf(input.clone()));
  return leaves;
}
}  // namespace

std::string GradcheckResult::text() const {
  return detail::concat(passed ? "ok" : "FAILED", ", largest error ", largest_error, " at input ",
                        input, " element ", element, ": central difference ", expected,
                        ", gradient ", got);
}

GradcheckResult gradcheck(const DifferentiableFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options) {
  for (const Tensor& input : inputs)
    check(input.dtype() == DType::f64, "gradcheck: inputs must be f64, got ", input);

  Tensor weights;
  const auto weighted_sum = [&](const std::vector<Variable>& x) {
    const Variable y = f(x);
    if (!weights.is_defined()) {
      weights = Tensor(y.shape(), DType::f64);
      fill_uniform(weights, Philox(options.seed, stream_of("gradcheck")), 0.5, 1.5);
    }
    return sum(mul(y, weights));
  };

  const std::vector<Variable> leaves = as_leaves(inputs);
  {
    Tape tape;
    const Variable loss = weighted_sum(leaves);
    if (loss.wants_gradient()) tape.backward(loss);
  }

  GradcheckResult result;
  std::vector<Tensor> moved;
  for (const Tensor& input : inputs) moved.push_back(input.clone());
  const auto value = [&] {
    return weighted_sum(std::vector<Variable>(moved.begin(), moved.end())).value().item();
  };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& gradient = leaves[i].gradient();
    for (std::int64_t e = 0; e < inputs[i].numel(); ++e) {
      double& x = moved[i].data<double>()[e];
      const double at = x, step = options.step * std::max(1.0, std::abs(at));
      x = at + step;
      const double above = value();
      x = at - step;
      const double below = value();
      x = at;
      const double expected = (above - below) / (2 * step);
      const double got = gradient.is_defined() ? gradient.data<double>()[e] : 0.0;
      const double error = std::abs(expected - got) / std::max(1.0, std::abs(got));
      // NaN counts as the largest: the first stays.
      if (!(error <= result.largest_error) && !std::isnan(result.largest_error))
        result = {error, static_cast<int>(i), e, expected, got, error <= options.tolerance};
    }
  }
  return result;
}

}  // namespace proxent
