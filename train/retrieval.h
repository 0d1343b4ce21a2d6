// How well embeddings retrieve: Recall@K, MAP@R, R-precision and, where asked for, P@K, mean
// average precision and nDCG@K, exact, without ever holding all pairs; and the nearest neighbours
// themselves.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

enum class Distance : std::uint8_t { cosine, euclidean };
Distance distance_from_name(std::string_view name);  // UsageError unless cosine or euclidean
std::string_view name_of(Distance distance);

// Who is searched for, among whom, and how. Rows are rows of the embeddings, samples of a data set.
//
// A query is ranked against the gallery without itself (the same row, wherever it is ranked) and
// without its own group. Nearer comes first; equally near, the lower row. A match is a gallery row
// of the query's class.
struct RetrievalOptions {
  std::vector<std::int64_t> recall_at = {1, 2, 4, 8};  // the K of Recall@K, in the order wanted
  // What needs the ranks of more matches than MAP@R, and so more time: the K of P@K and of nDCG@K,
  // and mean average precision over the whole ranking.
  std::vector<std::int64_t> precision_at = {}, ndcg_at = {};
  bool wants_map = false;
  Distance distance = Distance::cosine;
  std::optional<std::vector<std::int64_t>> queries = {}, gallery = {};  // rows; none: every row
  // Per row, a group that a query must not be matched within (a font's family, a camera); -1: in
  // none. Empty: no groups.
  std::vector<std::int32_t> groups = {};
  // The embeddings (N, D) as they are when they search, where that differs from how they are found
  // (query expansion).
  std::optional<Tensor> as_queries = {};
  // May change how many rows come before each match (ascending) of the query at a place in the
  // order of `queries`, before anything is computed from them (re-ranking); ties are then not
  // counted.
  std::function<void(std::int64_t place, std::vector<std::int32_t>& ranks)> change_ranks = {};
  // Rows worked on at once, on which the results do not depend; none: what suits the device.
  std::optional<std::int64_t> query_tile = {}, gallery_tile = {};
};

struct RecallAtK {
  std::int64_t k = 1;
  double recall = 0;  // share of queries with a match among their first k
  // Queries that would be hit or missed by another order of equally near rows.
  std::int64_t ties = 0;
};

struct ValueAtK {
  std::int64_t k = 1;
  double value = 0;
};

// All shares in 0 .. 1, averaged over the queries that have a match; 0 if none has.
struct RetrievalResult {
  std::vector<RecallAtK> recall_at;
  // R is the number of a query's matches, P(i) the share of matches among its first i rows:
  // MAP@R = (sum of P(i) over those i <= R whose row is a match) / R; R-precision = P(R)
  // (Musgrave et al. 2020, "A Metric Learning Reality Check", section 3.2).
  double map_at_r = 0, r_precision = 0;
  double mrr = 0;  // mean reciprocal rank: of 1 / (rank of the first match), ranks from 1
  // Where they were asked for; see train/rank_scores.h.
  std::vector<ValueAtK> precision_at = {}, ndcg_at = {};
  std::optional<double> map = {};
  std::int64_t queries = 0;                // with a match: what the averages are over
  std::int64_t queries_without_match = 0;  // left out of them
  std::int64_t gallery = 0;
  // For each query, in the order of RetrievalOptions::queries: how many rows come before its first
  // match; -1 without one.
  std::vector<std::int64_t> first_match = {};

  // Recall@K for a K that was asked for; throws otherwise.
  double recall(std::int64_t k) const;
};

// Ranks embeddings (N, D) f32 under labels (N), on the device that they are on; the result is the
// same on every device. Memory beside the embeddings: a copy of the gallery, one tile of
// similarities and a state per match of one tile of queries; at most 0.5 GB for 60,502 x 512.
// Throws UsageError for options that make no sense (a K below 1, rows that do not exist or repeat),
// NonFiniteError naming the first row with a NaN or infinity.
RetrievalResult evaluate_retrieval(const Tensor& embeddings, std::span<const std::int32_t> labels,
                                   const RetrievalOptions& options = {});

struct Neighbour {
  std::int64_t row = 0;
  float similarity = 0;  // cosine, or minus the squared distance
  bool is_match = false;
};

// The first `count` of the ranking of each of `queries` (rows; options.queries is not looked at),
// fewer where the gallery is smaller. The same order as evaluate_retrieval's, on the embeddings'
// device. Memory beside the embeddings: a copy of the gallery, one tile of similarities, `count`
// numbers for each query of a tile.
std::vector<std::vector<Neighbour>> nearest_neighbours(const Tensor& embeddings,
                                                       std::span<const std::int32_t> labels,
                                                       std::span<const std::int64_t> queries,
                                                       std::int64_t count,
                                                       const RetrievalOptions& options = {});

}  // namespace proxent
