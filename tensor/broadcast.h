// Walking tensors that are broadcast to a common shape: strides that are 0 along stretched axes.
#pragma once

#include <array>

#include "tensor/shape.h"

namespace proxent {

using Strides = std::array<std::int64_t, Shape::kMaxRank>;

// Element strides of a tensor of `shape` read at the indices of `target`, both aligned at the last
// axis and padded to four axes in front.
inline Strides broadcast_strides(const Shape& shape, const Shape& target) {
  Strides strides{};
  std::int64_t step = 1;
  for (int i = 1; i <= shape.rank(); ++i) {
    strides[Shape::kMaxRank - i] = shape[-i] == target[-i] ? step : 0;
    step *= shape[-i];
  }
  return strides;
}

// `shape` with ones in front, as four sizes.
inline std::array<std::int64_t, Shape::kMaxRank> padded_sizes(const Shape& shape) {
  std::array<std::int64_t, Shape::kMaxRank> sizes{1, 1, 1, 1};
  for (int i = 1; i <= shape.rank(); ++i) sizes[Shape::kMaxRank - i] = shape[-i];
  return sizes;
}

}  // namespace proxent
