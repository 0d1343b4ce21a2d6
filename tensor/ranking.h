// Exact ranks without sorting the gallery: how many rows come before each match of a query, counted
// while the similarities pass by tile by tile. Memory grows with the matches, not with the pairs.
//
// A query is ranked against the gallery without itself and without its own group. More similar rows
// come first, of equally similar ones the row of the lower number. The same results on every device
// and for every choice of tiles.
#pragma once

#include "tensor/launch.h"
#include "tensor/match_state.h"
#include "tensor/similarity.h"
#include "tensor/tensor.h"

namespace proxent {

// Rows of some data, in any order: the number of each in the data, and a group that it must not be
// matched within; -1: in none. Both i32 (n).
struct RankedRows {
  Tensor numbers, groups;
  RankedRows slice(std::int64_t first, std::int64_t count) const;
};

// Queries, and the rows that are right for them: [own_first, own_last) of a gallery, i32 (Q). The
// keys of their matches begin at `places`, i64 (Q): that of a query is `places` of the one before
// plus the rows that are right for that one.
struct RankedQueries {
  RankedRows rows;
  Tensor own_first, own_last, places;
  RankedQueries slice(std::int64_t first, std::int64_t count) const;
};

// What is known about some queries' matches so far.
struct MatchRanks {
  Tensor keys;    // i64 (M): RankKey of each match, per query descending; 0 behind them
  Tensor beaten;  // i32 (M): as MatchState says
  Tensor states;  // u8 (Q, sizeof(MatchState))
};

namespace kernel {
// Keys, beaten and states before any other row was met. x (Q, D) f32 are the queries' features, y
// (G, D) f32 the gallery's; of each ranking the first `reach` rows count, R at least.
KERNEL(start_ranks, const RankedQueries& queries, const RankedRows& gallery, const Tensor& x,
       const Tensor& y, Similarity similarity, std::int32_t reach, MatchRanks& ranks);
// Counts the rows of tile (Q, n), similarities to gallery rows first .. first + n - 1, that are
// neither right nor excluded.
KERNEL(count_nearer, const RankedQueries& queries, const RankedRows& gallery, const Tensor& tile,
       std::int64_t first, MatchRanks& ranks);
// scores, u8 (Q, sizeof(MatchScore)), of the ranks.
KERNEL(score_ranks, const MatchRanks& ranks, const RankedQueries& queries, Tensor& scores);
// tile (Q, G) f32: -infinity where query and row are the same or of one group; elsewhere -infinity,
// a distance beyond the range of f32, becomes the lowest float.
KERNEL(mask_excluded, const RankedRows& queries, const RankedRows& gallery, Tensor& tile);
}  // namespace kernel

// Of queries whose right rows are `matches` in all. A match is followed while it may be among the
// first `reach` rows or among as many as its query has matches; with 0 the latter. All tensors on
// one device.
MatchRanks start_ranks(const RankedQueries& queries, const RankedRows& gallery, const Tensor& x,
                       const Tensor& y, Similarity similarity, std::int64_t matches,
                       std::int32_t reach = 0);
// For each tile of the gallery once, in any order.
void count_nearer(const RankedQueries& queries, const RankedRows& gallery, const Tensor& tile,
                  std::int64_t first, MatchRanks& ranks);
// After the last tile. `scores` is u8 (Q, sizeof(MatchScore)).
void score_ranks(const MatchRanks& ranks, const RankedQueries& queries, Tensor& scores);

void mask_excluded(const RankedRows& queries, const RankedRows& gallery, Tensor& tile);

// A query and a row that it must not find.
constexpr bool is_excluded(std::int32_t query, std::int32_t query_group, std::int32_t row,
                           std::int32_t group) {
  return row == query || (query_group >= 0 && group == query_group);
}

}  // namespace proxent
