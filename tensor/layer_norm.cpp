#include "tensor/layer_norm.h"

namespace proxent {
namespace {
void check_factor(std::string_view name, const Tensor& factor, const Tensor& x) {
  if (!factor.is_defined()) return;
  check(factor.shape() == Shape{x.dim(1)} && factor.dtype() == x.dtype() &&
            factor.device() == x.device(),
        "layer_norm: ", name, " must be (", x.dim(1), ") ", x.dtype(), " on ", x.device(), ", got ",
        factor, " on ", factor.device());
}
}  // namespace

LayerNormed layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                       LayerNormOptions options) {
  check(x.shape().rank() == 2 && x.dim(1) >= 1,
        "layer_norm: x must be (rows, cols) with a column or more, got ", x.shape());
  check(options.eps >= 0, "layer_norm: eps must not be negative, got ", options.eps);
  check_factor("gamma", gamma, x);
  check_factor("beta", beta, x);
  LayerNormed out{Tensor(x.shape(), x.dtype(), x.device()),
                  Tensor(x.shape(), x.dtype(), x.device()),
                  Tensor({x.dim(0)}, x.dtype(), x.device())};
  launch("layer_norm", x.device(), [&](auto device) {
    kernel::layer_norm(device, x, gamma, beta, options.eps, out.y, out.unit, out.inverse);
  });
  return out;
}

Tensor layer_norm_backward(const Tensor& dy, const Tensor& gamma, const LayerNormed& forward) {
  check_same("layer_norm_backward", dy, forward.unit);
  Tensor dx(dy.shape(), dy.dtype(), dy.device());
  launch("layer_norm_backward", dy.device(), [&](auto device) {
    kernel::layer_norm_backward(device, dy, gamma, forward.unit, forward.inverse, dx);
  });
  return dx;
}

Tensor layer_norm_backward_gamma(const Tensor& dy, const LayerNormed& forward) {
  check_same("layer_norm_backward_gamma", dy, forward.unit);
  Tensor dgamma({dy.dim(1)}, dy.dtype(), dy.device());
  launch("layer_norm_backward_gamma", dy.device(),
         [&](auto device) { kernel::layer_norm_backward_gamma(device, dy, forward.unit, dgamma); });
  return dgamma;
}

}  // namespace proxent
