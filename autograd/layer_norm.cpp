#include "tensor/layer_norm.h"

#include "autograd/ops.h"

namespace proxent {

Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta,
                    LayerNormOptions options) {
  LayerNormed forward = layer_norm(x.value(), gamma.value(), beta.value(), options);
  Tensor y = std::exchange(forward.y, {});
  return record(
      "layer_norm", y,
      {{x, [gamma = gamma.value(),
            forward](const Tensor& dy) { return layer_norm_backward(dy, gamma, forward); }},
       {gamma, [forward](const Tensor& dy) { return layer_norm_backward_gamma(dy, forward); }},
       {beta, [](const Tensor& dy) {
          return dy;  // the engine sums over the rows
        }}});
}

}  // namespace proxent
