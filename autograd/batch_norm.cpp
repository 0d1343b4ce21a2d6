#include "tensor/batch_norm.h"

#include "autograd/ops.h"

namespace proxent {

// One joint record: the sums over the rows that give dgamma and dbeta are also part of dx.
Variable batch_norm(const Variable& x, const Variable& gamma, const Variable& beta,
                    Tensor& running_mean, Tensor& running_var, const BatchNormOptions& options,
                    const Variable& residual) {
  const BatchNormed forward = batch_norm(x.value(), gamma.value(), beta.value(), running_mean,
                                         running_var, options, residual.value());
  std::function<Tensor()> remake;
  if (options.is_remade)
    remake = [kept = forward.kept, residual = residual.kept()] {
      return batch_norm_again(kept, residual());
    };
  const bool asks_y =
      options.has_relu && residual.value().is_defined() && !forward.kept.passed.is_defined();
  Variable y =
      record("batch_norm", forward.y, {x, gamma, beta, residual},
             [forward = forward.kept, options, passed = asks_y ? remake : nullptr](
                 Tensor dy, const std::vector<bool>& wanted) {
               BatchNormKept kept = forward;
               if (passed) kept.passed = passed();
               const BatchNormGradients d = batch_norm_backward(
                   std::move(dy), kept, options,
                   {.dx = wanted[0], .parameters = wanted[1] || wanted[2], .dresidual = wanted[3]});
               return std::vector<Tensor>{d.dx, d.dgamma, d.dbeta, d.dresidual};
             });
  if (remake && y.wants_gradient()) y.remake_with(remake, residual.passes_to_remake() + 1);
  return y;
}

}  // namespace proxent
