// One query of an exact ranking while the gallery passes by: plain C++ that the kernels of every
// device share, so that they count, forget and score in one way.
#pragma once

#include <cstdint>
#include <limits>

#include "tensor/ordered_bits.h"

namespace proxent {

// A similarity and the number of a row, in one number: a larger key comes first in a ranking. More
// similar rows come first, of equally similar ones the lower. 0 is no row's key, and comes last.
using RankKey = std::uint64_t;

constexpr RankKey rank_key(float similarity, std::int32_t row) {
  return RankKey{ordered_bits(similarity)} << 32 | static_cast<std::uint32_t>(~row);
}
constexpr float similarity_of(RankKey key) {
  return score_of<float>(static_cast<std::uint32_t>(key >> 32));
}
constexpr bool is_as_similar(RankKey a, RankKey b) { return a >> 32 == b >> 32; }

// How many of n descending keys come before `key`.
constexpr std::int32_t rank_among(const RankKey* keys, std::int32_t n, RankKey key) {
  std::int32_t first = 0;
  while (n > 0) {
    const std::int32_t half = n / 2;
    const bool comes_before = keys[first + half] > key;
    first += comes_before ? half + 1 : 0;
    n = comes_before ? n - half - 1 : half;
  }
  return first;
}

// What one query adds to the averages.
struct MatchScore {
  double precision = 0, average_precision = 0;  // R-precision and MAP@R
  std::int32_t first_match = -1;                // rows before the first match; -1 without one
  std::int32_t certain = 0, possible = 0;       // hit at K if K > possible, missed if K <= certain
};

// A query's matches lie in descending order; `beaten[m]` counts the other rows that come before
// match m but not before match m - 1, so that match m has m + beaten[0] + ... + beaten[m] rows
// before it: all that Recall@K, MAP@R, average precision and nDCG ask for.
struct MatchState {
  std::int32_t count = 0;  // R, the number of matches
  std::int32_t reach = 0;  // rows of the ranking that somebody looks at, R at least
  // Only matches that may still be among the first `reach` rows are followed, and the nearest one
  // always: the first `live` of them, with `beaten_sum` rows before the last. No row less similar
  // than `floor` can come before one.
  std::int32_t live = 0, beaten_sum = 0;
  float floor = std::numeric_limits<float>::infinity();
  std::int32_t equal_to_best = 0, equal_and_before = 0;  // rows as near as the nearest match

  // Other rows that were met and not yet added to the state.
  struct Met {
    std::int32_t before = 0, equal_to_best = 0, equal_and_before = 0;
  };

  // Of `size` descending keys, behind which those of excluded rows are 0.
  static constexpr MatchState of(const RankKey* keys, std::int32_t size, std::int32_t reach) {
    MatchState state;
    state.count = state.live = rank_among(keys, size, 0);
    state.reach = reach > state.count ? reach : state.count;
    if (state.live > 0) state.floor = similarity_of(keys[state.live - 1]);
    return state;
  }

  // The match whose `beaten` the caller must add one to for another row, at least as similar as
  // `floor`; `live` for none.
  constexpr std::int32_t meet(RankKey other, const RankKey* keys, Met& met) const {
    const bool equals_best = is_as_similar(other, keys[0]);
    const std::int32_t m = rank_among(keys, live, other);
    met.before += m < live;
    met.equal_to_best += equals_best;
    met.equal_and_before += equals_best && m == 0;
    return m;
  }
  // Adds what was met, and forgets matches that are out of the first `reach` rows by now. When that
  // happens, or how often, changes no score.
  constexpr void add(const Met& met, const RankKey* keys, const std::int32_t* beaten) {
    beaten_sum += met.before;
    equal_to_best += met.equal_to_best;
    equal_and_before += met.equal_and_before;
    while (live > 1 && live - 1 + beaten_sum >= reach) beaten_sum -= beaten[--live];
    if (live > 0) floor = similarity_of(keys[live - 1]);
  }

  constexpr MatchScore score(const std::int32_t* beaten) const {
    MatchScore score;
    if (count == 0) return score;
    score.first_match = beaten[0];
    score.certain = beaten[0] - equal_and_before;
    score.possible = score.certain + equal_to_best;
    std::int32_t before = 0;
    for (std::int32_t m = 0; m < live; ++m) {
      before += beaten[m];
      if (m + before >= count) break;
      score.precision += 1;
      score.average_precision += static_cast<double>(m + 1) / static_cast<double>(m + before + 1);
    }
    score.precision /= static_cast<double>(count);
    score.average_precision /= static_cast<double>(count);
    return score;
  }
};

}  // namespace proxent
