// Pooling of images (N, H, W, C): over windows to (N, P, Q, C), and over the whole image to (N, C).
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

// Square windows. The number of outputs is rounded down, as with PyTorch's ceil_mode = False, or
// up: then a last window may hang over the edge, as long as it begins inside the image or the
// padding before it.
struct Pool2dOptions {
  std::int64_t size = 2, stride = 2, padding = 0;  // padding at most size / 2, as PyTorch asks
  bool rounds_up = false;                          // of max_pool2d only
};

inline constexpr std::int64_t kMaxPoolSize = 16;  // a tap's number r size + s fits in one byte
inline constexpr double kGemEps = 1e-6;           // GeM reads x as at least this

namespace kernel {
// y = largest of each window, index (u8) = number r size + s of its tap: the first one in row-major
// order on ties, and the last NaN if there is one, as PyTorch.
KERNEL(max_pool2d, const Tensor& x, const Pool2dOptions& options, Tensor& y, Tensor& index);
// dx = sum of the dy of the windows in which this pixel was the largest.
KERNEL(max_pool2d_backward, const Tensor& dy, const Tensor& index, const Pool2dOptions& options,
       Tensor& dx);
// y = sum of each window / size^2: zeros of the padding count.
KERNEL(avg_pool2d, const Tensor& x, const Pool2dOptions& options, Tensor& y);
KERNEL(avg_pool2d_backward, const Tensor& dy, const Pool2dOptions& options, Tensor& dx);
// y = mean over the pixels.
KERNEL(global_avg_pool, const Tensor& x, Tensor& y);
KERNEL(global_avg_pool_backward, const Tensor& dy, Tensor& dx);
// y = largest over the pixels, index (i32) = number of the pixel; ties and NaN as above.
KERNEL(global_max_pool, const Tensor& x, Tensor& y, Tensor& index);
KERNEL(global_max_pool_backward, const Tensor& dy, const Tensor& index, Tensor& dx);
// y = (mean of u^p)^(1/p) with u = max(x, kGemEps), computed as a log-sum-exp of p log u.
KERNEL(gem_pool, const Tensor& x, const Tensor& p, Tensor& y);
// With q = u^p / sum of u^p = (u / y)^p / pixels:  dx = dy y q / u, and 0 where x < kGemEps;
KERNEL(gem_pool_dx, const Tensor& dy, const Tensor& x, const Tensor& p, const Tensor& y,
       Tensor& dx);
// dp = sum of dy y (sum of q log u - log y) / p.
KERNEL(gem_pool_dp, const Tensor& dy, const Tensor& x, const Tensor& p, const Tensor& y,
       Tensor& dp);
}  // namespace kernel

struct MaxPooled {
  Tensor y, index;
};

// All throw Error unless x is (N, H, W, C) with at least one pixel and the windows fit.
MaxPooled max_pool2d(const Tensor& x, const Pool2dOptions& options = {});
Tensor max_pool2d_backward(const Tensor& dy, const Tensor& index, const Shape& x_shape,
                           const Pool2dOptions& options = {});
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options = {});
Tensor avg_pool2d_backward(const Tensor& dy, const Shape& x_shape,
                           const Pool2dOptions& options = {});
Tensor global_avg_pool(const Tensor& x);
Tensor global_avg_pool_backward(const Tensor& dy, const Shape& x_shape);
MaxPooled global_max_pool(const Tensor& x);
Tensor global_max_pool_backward(const Tensor& dy, const Tensor& index, const Shape& x_shape);
// Generalised mean (Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human Annotation",
// eq. 3); p is one element, of x's dtype, or f32 where x is of two bytes.
Tensor gem_pool(const Tensor& x, const Tensor& p);
Tensor gem_pool_dx(const Tensor& dy, const Tensor& x, const Tensor& p, const Tensor& y);
Tensor gem_pool_dp(const Tensor& dy, const Tensor& x, const Tensor& p, const Tensor& y);

}  // namespace proxent
