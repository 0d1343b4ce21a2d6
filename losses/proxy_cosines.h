// What a loss of the literature against proxies starts from.
#pragma once

#include <string_view>

#include "autograd/ops.h"

namespace proxent {

// Cosines (B, C, K) of embeddings (B, D) with proxies (C, K, D). A zero row has cosine 0. Throws
// Error, beginning with `loss`, where shapes, dtypes or labels (B) do not fit.
Variable proxy_cosines(std::string_view loss, const Variable& embeddings, const Variable& proxies,
                       const Tensor& labels);

}  // namespace proxent
