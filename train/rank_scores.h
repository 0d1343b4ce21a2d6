// What a query adds to averages, from how many rows come before each of its matches.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/match_state.h"
#include "train/retrieval.h"

namespace proxent {

// `ranks` are the numbers of rows before each match, ascending, so that match m, counted from 0,
// stands at place ranks[m] + 1; R is the number of matches, of which the last ones may be missing
// from `ranks` where nothing looks so far down.

// The mean over all R matches of P(i), i the match's place (scikit-learn's average_precision_score
// of a ranking without ties); 0 for R = 0.
double average_precision(std::span<const std::int32_t> ranks, std::int64_t matches);
// Matches among the first k, divided by k, also where the gallery is smaller.
double precision_at(std::span<const std::int32_t> ranks, std::int64_t k);
// DCG / ideal DCG with gain 1 for a match, 1 / log2(1 + place) each, places 1 .. k; the ideal
// ranking begins with all matches (Jarvelin and Kekalainen 2002; scikit-learn's ndcg_score(k=k)); 0
// for R = 0.
double ndcg_at(std::span<const std::int32_t> ranks, std::int64_t matches, std::int64_t k);

struct RankScores {
  double average_precision = 0;
  std::vector<double> precision_at, ndcg_at;  // at the K of the options
};
// What the options ask for.
RankScores rank_scores(std::span<const std::int32_t> ranks, std::int64_t matches,
                       const RetrievalOptions& options);

// The ranks that the state of a query follows; `beaten` are its matches'.
void ranks_of(const MatchState& state, const std::int32_t* beaten,
              std::vector<std::int32_t>& ranks);
// MAP@R, R-precision and the first match of ranks that are all there; no ties.
MatchScore match_score(std::span<const std::int32_t> ranks, std::int32_t matches);

}  // namespace proxent
