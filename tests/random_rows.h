// Random embeddings and labels for tests of what is measured of them.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/random.h"
#include "tensor/tensor.h"

namespace proxent {

// (rows, dim) f32, normal around 0.2.
inline Tensor cloud(std::int64_t rows, std::int64_t dim, std::uint64_t seed) {
  Tensor x({rows, dim}, DType::f32);
  fill_normal(x, Philox(seed, 1), 0.2, 1);
  return x;
}

inline std::vector<std::int32_t> random_labels(std::int64_t rows, std::int64_t classes,
                                               std::uint64_t seed) {
  Philox random(seed, 2);
  std::vector<std::int32_t> labels(rows);
  for (auto& label : labels) label = static_cast<std::int32_t>(random.below(classes));
  return labels;
}

}  // namespace proxent
