// Rows to unit length.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

namespace kernel {
// y = x / |x| along each row of x (rows, cols); length (rows) receives |x|, clamped to kMinLength.
KERNEL(normalize_rows, const Tensor& x, Tensor& y, Tensor& length);
// dx = (dy - y (y . dy)) / length: only the part of dy that turns the row, not the part that
// stretches it. A clamped row is x / kMinLength, so its dx is dy / length.
KERNEL(normalize_rows_backward, const Tensor& dy, const Tensor& y, const Tensor& length,
       Tensor& dx);
}  // namespace kernel

inline constexpr double kMinLength = 1e-12;  // as torch.nn.functional.normalize
struct Normalized {
  Tensor y, length;
};
Normalized normalize_rows(const Tensor& x);
Tensor normalize_rows_backward(const Tensor& dy, const Normalized& forward);

}  // namespace proxent
