#include "train/rank_scores.h"

#include <algorithm>
#include <cmath>

namespace proxent {
namespace {

double discount(std::int64_t rank) { return 1 / std::log2(static_cast<double>(rank) + 2); }

}  // namespace

double average_precision(std::span<const std::int32_t> ranks, std::int64_t matches) {
  double sum = 0;
  for (std::size_t m = 0; m < ranks.size(); ++m)
    sum += static_cast<double>(m + 1) / (ranks[m] + 1.0);
  return matches > 0 ? sum / static_cast<double>(matches) : 0;
}

double precision_at(std::span<const std::int32_t> ranks, std::int64_t k) {
  const auto hits = std::ranges::lower_bound(ranks, k) - ranks.begin();
  return static_cast<double>(hits) / static_cast<double>(k);
}

double ndcg_at(std::span<const std::int32_t> ranks, std::int64_t matches, std::int64_t k) {
  double gained = 0, ideal = 0;
  for (const std::int32_t rank : ranks)
    if (rank < k) gained += discount(rank);
  for (std::int64_t rank = 0; rank < std::min(matches, k); ++rank) ideal += discount(rank);
  return ideal > 0 ? gained / ideal : 0;
}

RankScores rank_scores(std::span<const std::int32_t> ranks, std::int64_t matches,
                       const RetrievalOptions& options) {
  RankScores scores;
  if (options.wants_map) scores.average_precision = average_precision(ranks, matches);
  for (const std::int64_t k : options.precision_at)
    scores.precision_at.push_back(precision_at(ranks, k));
  for (const std::int64_t k : options.ndcg_at) scores.ndcg_at.push_back(ndcg_at(ranks, matches, k));
  return scores;
}

void ranks_of(const MatchState& state, const std::int32_t* beaten,
              std::vector<std::int32_t>& ranks) {
  ranks.clear();
  std::int32_t before = 0;
  for (std::int32_t m = 0; m < state.live; ++m) {
    before += beaten[m];
    ranks.push_back(m + before);
  }
}

MatchScore match_score(std::span<const std::int32_t> ranks, std::int32_t matches) {
  std::vector<std::int32_t> beaten;
  std::int32_t before = 0;
  for (std::int32_t m = 0; m < std::ssize(ranks); ++m) {
    beaten.push_back(ranks[m] - m - before);
    before = ranks[m] - m;
  }
  MatchState state;
  state.count = matches;
  state.live = static_cast<std::int32_t>(ranks.size());
  return state.score(beaten.data());
}

}  // namespace proxent
