// Re-ranking by shared neighbours: rows that are among each other's nearest are more likely of one
// class than their similarity alone tells.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "train/retrieval.h"

namespace proxent {

struct KReciprocalOptions {
  std::int64_t k1 = 20;           // neighbours that must be mutual
  std::int64_t k2 = 6;            // neighbours whose features are averaged, the row itself one
  double lambda = 0.3;            // weight of the original distance
  std::int64_t candidates = 200;  // first rows of each ranking that are put in a new order
};
// "20,6,0.3" or "20,6,0.3,200". Throws UsageError.
KReciprocalOptions k_reciprocal_from_text(std::string_view text);

// For each query, in the order of the options, its first `candidates` rows in their new order
// (Zhong et al. 2017, "Re-ranking Person Re-identification with k-reciprocal Encoding"). With N(p,
// k) a row and its k nearest among all queries and gallery rows, but for its group:
//   R(p, k) = {g in N(p, k) : p in N(g, k)}
//   R*(p)   = R(p, k1) and every R(q, k1 / 2) of a q in R(p, k1) with more than two thirds of its
//             rows in R(p, k1); k1 / 2 is rounded half up
//   V(p)_g  = exp(-d(p, g)) / sum for g in R*(p), else 0; d = 1 - cosine
//   V'(p)   = the mean of V over N(p, k2 - 1)
//   d*(p,g) = (1 - lambda) (1 - sum min(V'p, V'g) / sum max(V'p, V'g)) + lambda d(p, g)
// Ordered by d*, equals as they were. Memory: about (k1 + 1) k2 numbers per row, no pair of rows
// beyond the candidates. Throws UsageError unless the distance is the cosine.
std::vector<std::vector<Neighbour>> reranked_neighbours(const Tensor& embeddings,
                                                        std::span<const std::int32_t> labels,
                                                        const RetrievalOptions& options,
                                                        const KReciprocalOptions& reranking);

// The options with change_ranks such that metrics are of the re-ranked candidates; rows behind them
// stay where they are.
RetrievalOptions with_reranking(RetrievalOptions options,
                                std::vector<std::vector<Neighbour>> reranked);

}  // namespace proxent
