// Two ways to make embeddings better after training: the mean with the mirrored picture's, and
// queries that take in what they find first.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "train/retrieval.h"

namespace proxent {

// Rows (a / |a| + b / |b|) / 2, again of length one; a zero sum stays zero. a, b (N, D) f32, on
// their device.
Tensor mean_directions(const Tensor& a, const Tensor& b);

struct QueryExpansionOptions {
  std::int64_t neighbours = 10;
  double alpha = 3;  // 0: all neighbours weigh the same (average query expansion)
};
// "10" or "10,3". Throws UsageError.
QueryExpansionOptions query_expansion_from_text(std::string_view text);

// alpha-QE (Radenovic, Tolias and Chum 2019): q + sum over its nearest gallery rows x_i of
// max(0, q . x_i)^alpha x_i, all of length one, and so the sum in the end. Queries of `options`
// only; other rows stay as they are. For RetrievalOptions::as_queries. Throws UsageError unless the
// distance is the cosine.
Tensor expanded_queries(const Tensor& embeddings, std::span<const std::int32_t> labels,
                        const RetrievalOptions& options, const QueryExpansionOptions& expansion);

}  // namespace proxent
