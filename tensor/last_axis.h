// Any tensor seen as rows along its last axis.
#pragma once

#include <array>

#include "tensor/tensor.h"

namespace proxent {

// `shape` without its last axis; `op` opens the error for a scalar.
inline Shape without_last(std::string_view op, const Shape& shape) {
  check(shape.rank() >= 1, op, ": x must have one axis or more, got a scalar");
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  for (int i = 0; i + 1 < shape.rank(); ++i) sizes[i] = shape[i];
  return Shape(std::span<const std::int64_t>(sizes.data(), shape.rank() - 1));
}

// x as (rows, last axis); shares memory.
inline Tensor as_rows(std::string_view op, const Tensor& x) {
  const std::int64_t rows = without_last(op, x.shape()).numel();
  return x.reshape({rows, x.dim(-1)});
}

}  // namespace proxent
