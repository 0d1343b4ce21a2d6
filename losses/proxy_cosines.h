// What a loss of the literature against proxies starts from.
#pragma once

#include <string_view>

#include "autograd/ops.h"

namespace proxent {

// Throws Error, beginning with `loss`, unless embeddings (B, D), proxies (C, K, D) and labels (B)
// fit by shape and dtype and, on the CPU, every label lies in 0 .. C-1.
void check_proxy_inputs(std::string_view loss, const Variable& embeddings, const Variable& proxies,
                        const Tensor& labels);
// Cosines (B, C, K) of inputs that are checked so. A zero row has cosine 0.
Variable proxy_cosines(std::string_view loss, const Variable& embeddings, const Variable& proxies,
                       const Tensor& labels);

}  // namespace proxent
