// Sums over axes, and the broadcast that undoes their shape.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

namespace kernel {
// y = x summed over the axes along which y (aligned at the last axis) has size 1 or is missing.
KERNEL(sum_to, const Tensor& x, Tensor& y);
// y[...] = x[...] repeated along the axes where x has size 1 or is missing.
KERNEL(broadcast_to, const Tensor& x, Tensor& y);
}  // namespace kernel

// x summed down to `shape`, which must broadcast to x's shape; itself if the shapes are equal.
Tensor sum_to(const Tensor& x, const Shape& shape);
// x repeated up to `shape`, as torch.broadcast_to followed by a copy.
Tensor broadcast_to(const Tensor& x, const Shape& shape);

}  // namespace proxent
