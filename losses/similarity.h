// What the losses of the literature are made from: cosines and masks of ones and zeros.
#pragma once

#include "autograd/ops.h"

namespace proxent {

// Stands in for infinity where an infinite mask would make 0 * infinity.
inline constexpr double kMasked = 1e30;

// (n, n) with ones on the diagonal.
Tensor identity(std::int64_t n, DType dtype, Device device);

// (B, C): 1 at each row's label. Throws Error, on the CPU, for a label outside 0 .. C-1.
Tensor one_hot(const Tensor& labels, std::int64_t classes, DType dtype);

// Cosines (B, C, K) of embeddings (B, D) with proxies (C, K, D). A zero row has cosine 0. Throws
// Error, beginning with `loss`, where shapes, dtypes or labels (B) do not fit.
Variable proxy_cosines(std::string_view loss, const Variable& embeddings, const Variable& proxies,
                       const Tensor& labels);

// log(1 + sum_j m_j exp(x_j)) along the last axis, which goes away; mask m of ones and zeros.
Variable log_one_plus_sum_exp(const Variable& x, const Tensor& mask);

}  // namespace proxent
