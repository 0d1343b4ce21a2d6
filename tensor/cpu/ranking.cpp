#include "tensor/ranking.h"

#include <algorithm>
#include <functional>

#include "tensor/parallel.h"

namespace proxent::kernel {
namespace {

// Elements of a tile of similarities within a class.
constexpr std::int64_t kMaxOwnTile = 1 << 22;
// Elements to look at that are worth waking a thread for.
constexpr std::int64_t kGrain = 1 << 17;

const std::int32_t* i32(const Tensor& x) { return x.data<std::int32_t>(); }
RankKey* keys_of(MatchRanks& ranks) {
  return reinterpret_cast<RankKey*>(ranks.keys.data<std::int64_t>());
}
const MatchState* states_of(const MatchRanks& ranks) {
  return reinterpret_cast<const MatchState*>(ranks.states.raw());
}
MatchState* states_of(MatchRanks& ranks) {
  return reinterpret_cast<MatchState*>(ranks.states.raw());
}

// The end of the queries from `first` on whose right rows are the same, as far as a tile reaches.
std::int64_t end_of_class(const RankedQueries& queries, std::int64_t first) {
  const std::int32_t *own_first = i32(queries.own_first), *own_last = i32(queries.own_last);
  const std::int64_t size = own_last[first] - own_first[first];
  std::int64_t last = first + 1;
  while (last < queries.places.numel() && own_first[last] == own_first[first] &&
         own_last[last] == own_last[first] && (last - first + 1) * size <= kMaxOwnTile)
    ++last;
  return last;
}

// One query's way through rows of a tile, none of which is right. Few are as near as its floor, so
// blocks are passed over with one comparison per vector.
struct Passer {
  std::int32_t query, group;
  const std::int32_t *numbers, *groups;  // of the gallery
  const RankKey* keys;
  std::int32_t* beaten;
  MatchState state;

  void pass(const float* similarity, std::int64_t first, std::int64_t last) {
    constexpr std::int64_t kBlock = 64;
    for (; first < last; first += kBlock) {
      const std::int64_t end = std::min(first + kBlock, last);
      int is_near = 0;
#pragma omp simd reduction(| : is_near)
      for (std::int64_t j = first; j < end; ++j) is_near |= similarity[j] >= state.floor;
      if (is_near) look(similarity, first, end);
    }
  }

 private:
  void look(const float* similarity, std::int64_t first, std::int64_t last) {
    for (std::int64_t j = first; j < last; ++j) {
      if (!(similarity[j] >= state.floor) || is_excluded(query, group, numbers[j], groups[j]))
        continue;
      MatchState::Met met;
      const std::int32_t m = state.meet(rank_key(similarity[j], numbers[j]), keys, met);
      if (m < state.live) ++beaten[m];
      state.add(met, keys, beaten);
    }
  }
};

}  // namespace

void start_ranks(Cpu, const RankedQueries& queries, const RankedRows& gallery, const Tensor& x,
                 const Tensor& y, Similarity similarity, std::int32_t reach, MatchRanks& ranks) {
  const std::int32_t *numbers = i32(gallery.numbers), *groups = i32(gallery.groups);
  for (std::int64_t first = 0; first < x.dim(0);) {
    const std::int64_t last = end_of_class(queries, first);
    const std::int64_t own = i32(queries.own_first)[first];
    const std::int64_t size = i32(queries.own_last)[first] - own;
    Tensor tile({last - first, size}, DType::f32);
    similarities(Cpu{}, x.slice(first, last - first), y.slice(own, size), similarity, tile);
    parallel_for(last - first, 1 + kGrain / 16 / (size + 1), [&](std::int64_t i) {
      const std::int64_t q = first + i, place = queries.places.data<std::int64_t>()[q];
      const std::int32_t query = i32(queries.rows.numbers)[q], group = i32(queries.rows.groups)[q];
      RankKey* keys = keys_of(ranks) + place;
      for (std::int64_t j = 0; j < size; ++j)
        keys[j] = is_excluded(query, group, numbers[own + j], groups[own + j])
                      ? 0
                      : rank_key(tile.data<float>()[i * size + j], numbers[own + j]);
      std::sort(keys, keys + size, std::greater<>());
      std::fill_n(ranks.beaten.data<std::int32_t>() + place, size, 0);
      states_of(ranks)[q] = MatchState::of(keys, static_cast<std::int32_t>(size), reach);
    });
    first = last;
  }
}

void count_nearer(Cpu, const RankedQueries& queries, const RankedRows& gallery, const Tensor& tile,
                  std::int64_t first, MatchRanks& ranks) {
  const std::int64_t columns = tile.dim(1), last = first + columns;
  parallel_for(tile.dim(0), 1 + kGrain / (columns + 1), [&](std::int64_t q) {
    const std::int64_t place = queries.places.data<std::int64_t>()[q];
    Passer passer{.query = i32(queries.rows.numbers)[q],
                  .group = i32(queries.rows.groups)[q],
                  .numbers = i32(gallery.numbers),
                  .groups = i32(gallery.groups),
                  .keys = keys_of(ranks) + place,
                  .beaten = ranks.beaten.data<std::int32_t>() + place,
                  .state = states_of(ranks)[q]};
    const float* similarity = tile.data<float>() + q * columns - first;
    passer.pass(similarity, first, std::min<std::int64_t>(last, i32(queries.own_first)[q]));
    passer.pass(similarity, std::max<std::int64_t>(first, i32(queries.own_last)[q]), last);
    states_of(ranks)[q] = passer.state;
  });
}

void score_ranks(Cpu, const MatchRanks& ranks, const RankedQueries& queries, Tensor& scores) {
  auto* to = reinterpret_cast<MatchScore*>(scores.raw());
  for (std::int64_t q = 0; q < scores.dim(0); ++q)
    to[q] = states_of(ranks)[q].score(ranks.beaten.data<std::int32_t>() +
                                      queries.places.data<std::int64_t>()[q]);
}

void mask_excluded(Cpu, const RankedRows& queries, const RankedRows& gallery, Tensor& tile) {
  const std::int64_t columns = tile.dim(1);
  const std::int32_t *numbers = i32(gallery.numbers), *groups = i32(gallery.groups);
  parallel_for(tile.dim(0), 1 + kGrain / (columns + 1), [&](std::int64_t q) {
    const std::int32_t query = i32(queries.numbers)[q], group = i32(queries.groups)[q];
    float* similarity = tile.data<float>() + q * columns;
    for (std::int64_t j = 0; j < columns; ++j)
      similarity[j] = is_excluded(query, group, numbers[j], groups[j])
                          ? -std::numeric_limits<float>::infinity()
                          : std::max(similarity[j], std::numeric_limits<float>::lowest());
  });
}

}  // namespace proxent::kernel
