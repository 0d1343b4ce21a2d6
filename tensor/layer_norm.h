// Layer normalisation: each row to mean 0 and variance 1, then scaled and shifted by column.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

namespace kernel {
// unit = (x - mean) / sqrt(variance + eps) along each row of x (rows, cols), variance being the
// biased one; inverse (rows) receives 1 / sqrt(variance + eps); y = gamma unit + beta. An undefined
// gamma is 1, an undefined beta 0.
KERNEL(layer_norm, const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps, Tensor& y,
       Tensor& unit, Tensor& inverse);
// With g = gamma dy: dx = inverse (g - mean(g) - unit mean(g unit)), the means along the row.
KERNEL(layer_norm_backward, const Tensor& dy, const Tensor& gamma, const Tensor& unit,
       const Tensor& inverse, Tensor& dx);
// dgamma (cols) = sum over rows of dy unit.
KERNEL(layer_norm_backward_gamma, const Tensor& dy, const Tensor& unit, Tensor& dgamma);
}  // namespace kernel

struct LayerNormOptions {
  double eps = 1e-5;
};
// What backward needs: y before gamma and beta, and 1 / standard deviation of each row.
struct LayerNormed {
  Tensor y, unit, inverse;
};
// As torch.nn.functional.layer_norm over the last axis of x (rows, cols), cols >= 1; gamma and beta
// are (cols) or undefined.
LayerNormed layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                       LayerNormOptions options = {});
Tensor layer_norm_backward(const Tensor& dy, const Tensor& gamma, const LayerNormed& forward);
Tensor layer_norm_backward_gamma(const Tensor& dy, const LayerNormed& forward);

}  // namespace proxent
