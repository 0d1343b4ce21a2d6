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
// values (rows) = largest of each row of x (rows, cols), indices (rows, i32) = where it first
// stands. NaN counts as the largest.
KERNEL(max_last, const Tensor& x, Tensor& values, Tensor& indices);
}  // namespace kernel

// x summed down to `shape`, which must broadcast to x's shape; itself if the shapes are equal.
Tensor sum_to(const Tensor& x, const Shape& shape);
// x repeated up to `shape`, as torch.broadcast_to followed by a copy.
Tensor broadcast_to(const Tensor& x, const Shape& shape);

// Along the last axis, which goes away; torch.sum, torch.mean with dim=-1.
Tensor sum_last(const Tensor& x);
Tensor mean_last(const Tensor& x);
// As torch.max with dim=-1: the largest value and the first index (i32) that has it. The axis must
// not be empty.
struct MaxLast {
  Tensor values, indices;
};
MaxLast max_last(const Tensor& x);

}  // namespace proxent
