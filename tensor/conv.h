// Two-dimensional convolution (as PyTorch: cross-correlation) without bias, and its two gradients.
// Images are (N, H, W, C), weights (K, R, S, C), outputs (N, P, Q, K) with
//   P = (H + 2 padding - R) / stride + 1, rounded down, and Q likewise.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

// The same along both axes.
struct Conv2dOptions {
  std::int64_t stride = 1, padding = 0;  // padding: zeros on each of the four sides
};

namespace kernel {
// y[n,p,q,k] = sum over r,s,c of x[n, p stride - padding + r, q stride - padding + s, c]
// w[k,r,s,c].
KERNEL(conv2d, const Tensor& x, const Tensor& w, const Conv2dOptions& options, Tensor& y);
// dx: every element of dx receives the dy of the outputs it went into, times the weight between.
KERNEL(conv2d_dx, const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx);
// sum += that dx.
KERNEL(conv2d_dx_into, const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
       Tensor& sum);
// dw[k,r,s,c] = sum over n,p,q of dy[n,p,q,k] x[n, p stride - padding + r, q stride - padding + s,
// c].
KERNEL(conv2d_dw, const Tensor& dy, const Tensor& x, const Conv2dOptions& options, Tensor& dw);
}  // namespace kernel

// All throw Error where ranks, channels, dtypes or options do not fit, or the weights are
// larger than the padded image.
Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2dOptions& options = {});
Tensor conv2d_dx(const Tensor& dy, const Tensor& w, const Shape& x_shape,
                 const Conv2dOptions& options = {});
// sum += conv2d_dx, in sum's memory, in one pass where the library can.
void conv2d_dx_into(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& sum);
Tensor conv2d_dw(const Tensor& dy, const Tensor& x, const Shape& w_shape,
                 const Conv2dOptions& options = {});

}  // namespace proxent
