// One feature's part of a similarity: every kernel that sums from the first feature to the last by
// it gets the same bits for the same pair of rows.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "tensor/similarity.h"

namespace proxent::cuda {

template <Similarity kSimilarity, class T>
__device__ inline T add_feature(T q, T g, T sum) {
  if constexpr (kSimilarity == Similarity::dot) return std::fma(q, g, sum);
  const T difference = q - g;
  return std::fma(-difference, difference, sum);
}

}  // namespace proxent::cuda
