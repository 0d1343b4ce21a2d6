// Proof 1 of every op: float64 central differences; each input alone; one variable in two places.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "tensor/random.h"
#include "tests/devices.h"
#include "tests/tensors.h"
#include "train/op_table.h"

namespace proxent {
namespace {

// Gradients of sum(y dy) for the leaves where is_leaf says so; the other inputs are constants.
std::vector<Tensor> gradients(const OpRow& row, const std::vector<bool>& is_leaf, Device device) {
  std::vector<Variable> inputs;
  for (const Tensor& x : op_inputs(row, DType::f64)) {
    const Tensor input = x.to(device);
    inputs.push_back(is_leaf[inputs.size()] ? Variable::leaf(input) : Variable(input));
  }
  Tape tape;
  const Variable y = row.call(inputs);
  Tensor dy(y.shape(), DType::f64);
  fill_uniform(dy, Philox(0, stream_of(row.name)), 0.5, 1.5);
  REQUIRE(y.wants_gradient());
  tape.backward(y, dy.to(device));
  std::vector<Tensor> all;
  for (const Variable& input : inputs)
    all.push_back(input.wants_gradient() ? input.gradient().to(Device::cpu) : Tensor());
  return all;
}

void check_each_alone(const OpRow& row, Device device) {
  INFO(row.name);
  const std::size_t n = row.inputs.size();
  const std::vector<Tensor> all = gradients(row, std::vector<bool>(n, true), device);
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<bool> alone(n);
    alone[i] = true;
    INFO("input ", i);
    CHECK(is_bitwise_equal(gradients(row, alone, device)[i], all[i]));
  }
}
}  // namespace
}  // namespace proxent

TEST_SUITE("gradients") {
  using namespace proxent;

  TEST_CASE("every op's gradient equals central differences") {
    for (const OpRow& row : op_table()) {
      INFO(row.name);
      const auto result =
          gradcheck(row.call, op_inputs(row, DType::f64), {.tolerance = row.gradient_tolerance});
      INFO(result.text());
      CHECK(result.passed);
    }
  }

  TEST_CASE("each input alone gets the gradient that it gets among all") {
    for (const OpRow& row : op_table()) check_each_alone(row, Device::cpu);
  }

  TEST_CASE("each input alone gets it on the GPU too") {
    if (!has_gpu()) return;
    for (const OpRow& row : op_table()) check_each_alone(row, Device::cuda);
  }

  TEST_CASE("one variable as two inputs gets both gradients") {
    int pairs = 0;
    for (const OpRow& row : op_table())
      for (std::size_t i = 0; i < row.inputs.size(); ++i)
        for (std::size_t j = i + 1; j < row.inputs.size(); ++j) {
          if (row.inputs[i] != row.inputs[j]) continue;
          std::vector<Tensor> inputs = op_inputs(row, DType::f64);
          inputs.erase(inputs.begin() + static_cast<std::ptrdiff_t>(j));
          const auto with_twin = [&](std::vector<Variable> x) {
            x.insert(x.begin() + static_cast<std::ptrdiff_t>(j), x[i]);
            return row.call(x);
          };
          const auto result = gradcheck(with_twin, inputs, {.tolerance = row.gradient_tolerance});
          INFO(row.name, " inputs ", i, " and ", j, ": ", result.text());
          CHECK(result.passed);
          ++pairs;
        }
    CHECK(pairs > 5);
  }

  TEST_CASE("gradcheck finds a wrong gradient") {
    const auto wrong = [](const std::vector<Variable>& x) {
      return record("wrong", square(x[0].value()),
                    {{x[0], [x = x[0].value()](const Tensor& dy) { return mul(dy, x); }}});
    };
    const auto result = gradcheck(wrong, {Tensor::full({3}, DType::f64, 0.7)});
    CHECK_FALSE(result.passed);
    CHECK(result.expected == doctest::Approx(2 * result.got));
  }

  TEST_CASE("gradcheck finds a gradient that is not a number, wherever it stands") {
    for (std::int64_t where = 0; where < 3; ++where) {
      const auto broken = [where](const std::vector<Variable>& x) {
        return record("broken", square(x[0].value()),
                      {{x[0], [x = x[0].value(), where](const Tensor& dy) {
                          Tensor dx = scale(mul(dy, x), 2);
                          dx.data<double>()[where] = std::nan("");
                          return dx;
                        }}});
      };
      const auto result = gradcheck(broken, {Tensor::full({3}, DType::f64, 0.7)});
      CHECK_FALSE(result.passed);
      CHECK(result.element == where);
    }
  }
}
