// Ranks of matches. A block works on one query; integers are counted, so that neither the order of
// the threads nor that of the tiles changes a result.
#include "tensor/ranking.h"

#include "tensor/cuda/add_feature.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::elements;

constexpr int kThreads = 128;
constexpr int kSharedKeys = 2048;  // 16 KiB: more matches than this are sorted in device memory
constexpr int kPerThread = 4;      // similarities in flight

struct Rows {
  const std::int32_t *numbers, *groups;
};
struct Queries {
  Rows rows;
  const std::int32_t *own_first, *own_last;
  const std::int64_t* places;
};
struct Ranks {
  RankKey* keys;
  std::int32_t* beaten;
  MatchState* states;
};
struct Features {
  const float *queries, *gallery;
  int dim;
  bool is_aligned;  // every row begins at a multiple of 16 bytes
};

Rows rows_of(const RankedRows& rows) {
  return {.numbers = elements<std::int32_t>(rows.numbers),
          .groups = elements<std::int32_t>(rows.groups)};
}
Queries queries_of(const RankedQueries& queries) {
  return {.rows = rows_of(queries.rows),
          .own_first = elements<std::int32_t>(queries.own_first),
          .own_last = elements<std::int32_t>(queries.own_last),
          .places = elements<std::int64_t>(queries.places)};
}
Ranks ranks_of(MatchRanks& ranks) {
  return {.keys = elements<RankKey>(ranks.keys),
          .beaten = elements<std::int32_t>(ranks.beaten),
          .states = elements<MatchState>(ranks.states)};
}

// Exchanges keys[i] and keys[j], i < j, if they do not descend. Behind the last key stand zeros
// that take part in nothing.
__device__ void exchange(RankKey* keys, int i, int j, int n) {
  if (j >= n) return;
  const RankKey first = keys[i], second = keys[j];
  if (first >= second) return;
  keys[i] = second;
  keys[j] = first;
}

// Sorts n keys into descending order: Batcher's bitonic sort in the form whose exchanges all go the
// same way. Each round turns runs of size / 2 into runs of `size`: first each key meets its mirror
// image, then the one half, a quarter, ... of the distance away. All threads, behind a barrier.
__device__ void sort_down(RankKey* keys, int n) {
  const auto run = [&](int distance, const auto& partner) {
    for (int pair = threadIdx.x; pair < (n + 1) / 2 + distance; pair += blockDim.x) {
      const int i = 2 * pair - (pair & (distance - 1));  // its bit `distance` is 0
      exchange(keys, i, partner(i), n);
    }
    __syncthreads();
  };
  for (int size = 2; size / 2 < n; size *= 2) {
    run(size / 2, [size](int i) { return i ^ (size - 1); });
    for (int distance = size / 4; distance > 0; distance /= 2)
      run(distance, [distance](int i) { return i + distance; });
  }
}

// The similarity of one pair of rows, to the bits that similarities_kernel gives it.
template <Similarity kSimilarity>
__device__ float similarity_of_rows(const float* q, const float* g, int dim, bool is_aligned) {
  float sum = 0;
  int d = 0;
  for (; is_aligned && d < dim; d += 4) {
    const auto a = cuda::load_pack<4>(q + d), b = cuda::load_pack<4>(g + d);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum = cuda::add_feature<kSimilarity>(a.at[i], b.at[i], sum);
  }
  for (; d < dim; ++d) sum = cuda::add_feature<kSimilarity>(q[d], g[d], sum);
  return sum;
}

// A thread per match computes its key, then the block sorts them. This reads rows at 16 bytes per
// thread, far from what a tiled product reaches: matches are few beside all pairs.
template <Similarity kSimilarity>
__global__ void __launch_bounds__(kThreads)
    start_ranks_kernel(Queries queries, Rows gallery, Features features, std::int32_t reach,
                       Ranks ranks) {
  __shared__ RankKey shared[kSharedKeys];
  const unsigned q = blockIdx.x;
  const std::int32_t query = queries.rows.numbers[q], group = queries.rows.groups[q];
  const std::int32_t own = queries.own_first[q], size = queries.own_last[q] - own;
  RankKey* const stored = ranks.keys + queries.places[q];
  std::int32_t* const beaten = ranks.beaten + queries.places[q];
  RankKey* const keys = size <= kSharedKeys ? shared : stored;

  const float* const x = features.queries + std::int64_t{q} * features.dim;
  for (int j = threadIdx.x; j < size; j += kThreads) {
    const std::int32_t number = gallery.numbers[own + j];
    const float* const y = features.gallery + std::int64_t{own + j} * features.dim;
    keys[j] =
        is_excluded(query, group, number, gallery.groups[own + j])
            ? 0
            : rank_key(similarity_of_rows<kSimilarity>(x, y, features.dim, features.is_aligned),
                       number);
    beaten[j] = 0;
  }
  __syncthreads();
  sort_down(keys, size);
  if (keys != stored)
    for (int j = threadIdx.x; j < size; j += kThreads) stored[j] = keys[j];
  if (threadIdx.x == 0) ranks.states[q] = MatchState::of(keys, size, reach);
}

// Counts one query's row of the tile. Reads it once; few of its similarities reach the floor, and
// each of those costs a search among the matches and an addition to one of them. Left alone the
// compiler spills registers to fit 16 blocks; 12 have none spilled.
__global__ void __launch_bounds__(kThreads, 12)
    count_nearer_kernel(Queries queries, Rows gallery, const float* tile, int columns, int first,
                        Ranks ranks) {
  __shared__ MatchState::Met all;
  const unsigned q = blockIdx.x;
  const std::int32_t query = queries.rows.numbers[q], group = queries.rows.groups[q];
  const std::int32_t own_first = queries.own_first[q], own_last = queries.own_last[q];
  const RankKey* const keys = ranks.keys + queries.places[q];
  std::int32_t* const beaten = ranks.beaten + queries.places[q];
  const MatchState state = ranks.states[q];
  tile += std::int64_t{q} * columns;
  if (state.count == 0) return;  // of no interest to anybody
  if (threadIdx.x == 0) all = {};
  __syncthreads();

  MatchState::Met met;
  bool has_met = false;
  for (int begin = threadIdx.x; begin < columns; begin += kThreads * kPerThread) {
    float similarity[kPerThread];
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const int column = begin + i * kThreads;
      similarity[i] = column < columns ? tile[column] : 0;
    }
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const int column = begin + i * kThreads, row = first + column;
      if (!(similarity[i] >= state.floor) || column >= columns) continue;
      if ((row >= own_first && row < own_last) ||
          is_excluded(query, group, gallery.numbers[row], gallery.groups[row]))
        continue;
      const std::int32_t m = state.meet(rank_key(similarity[i], gallery.numbers[row]), keys, met);
      if (m < state.live) atomicAdd(beaten + m, 1);
      has_met = true;
    }
  }
  if (has_met) {
    atomicAdd(&all.before, met.before);
    atomicAdd(&all.equal_to_best, met.equal_to_best);
    atomicAdd(&all.equal_and_before, met.equal_and_before);
  }
  if (!__syncthreads_or(has_met) || threadIdx.x != 0) return;
  MatchState next = state;
  next.add(all, keys, beaten);
  ranks.states[q] = next;
}

// One thread per query: its sum runs over few matches, in order.
__global__ void score_ranks_kernel(const MatchState* states, const std::int32_t* beaten,
                                   const std::int64_t* places, int queries, MatchScore* scores) {
  const int q = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (q < queries) scores[q] = states[q].score(beaten + places[q]);
}

__global__ void mask_excluded_kernel(Rows queries, Rows gallery, float* tile, int columns) {
  const unsigned q = blockIdx.x;
  const std::int32_t query = queries.numbers[q], group = queries.groups[q];
  tile += std::int64_t{q} * columns;
  for (int column = threadIdx.x; column < columns; column += blockDim.x)
    tile[column] = is_excluded(query, group, gallery.numbers[column], gallery.groups[column])
                       ? -std::numeric_limits<float>::infinity()
                       : max(tile[column], std::numeric_limits<float>::lowest());
}
}  // namespace

void start_ranks(Cuda, const RankedQueries& queries, const RankedRows& gallery, const Tensor& x,
                 const Tensor& y, Similarity similarity, std::int32_t reach, MatchRanks& ranks) {
  const Features features{.queries = elements<float>(x),
                          .gallery = elements<float>(y),
                          .dim = static_cast<int>(x.dim(1)),
                          .is_aligned = cuda::are_aligned({x.raw(), y.raw()}) && x.dim(1) % 4 == 0};
  cuda::launch_kernel(similarity == Similarity::dot ? start_ranks_kernel<Similarity::dot>
                                                    : start_ranks_kernel<Similarity::euclidean>,
                      cuda::blocks_for(x.dim(0), 1), kThreads, 0, queries_of(queries),
                      rows_of(gallery), features, reach, ranks_of(ranks));
}

void count_nearer(Cuda, const RankedQueries& queries, const RankedRows& gallery, const Tensor& tile,
                  std::int64_t first, MatchRanks& ranks) {
  cuda::launch_kernel(count_nearer_kernel, cuda::blocks_for(tile.dim(0), 1), kThreads, 0,
                      queries_of(queries), rows_of(gallery), elements<float>(tile),
                      static_cast<int>(tile.dim(1)), static_cast<int>(first), ranks_of(ranks));
}

void score_ranks(Cuda, const MatchRanks& ranks, const RankedQueries& queries, Tensor& scores) {
  cuda::launch_kernel(score_ranks_kernel, cuda::blocks_for(scores.dim(0), kThreads), kThreads, 0,
                      elements<MatchState>(ranks.states), elements<std::int32_t>(ranks.beaten),
                      elements<std::int64_t>(queries.places), static_cast<int>(scores.dim(0)),
                      elements<MatchScore>(scores));
}

void mask_excluded(Cuda, const RankedRows& queries, const RankedRows& gallery, Tensor& tile) {
  cuda::launch_kernel(mask_excluded_kernel, cuda::blocks_for(tile.dim(0), 1), kThreads, 0,
                      rows_of(queries), rows_of(gallery), elements<float>(tile),
                      static_cast<int>(tile.dim(1)));
}

}  // namespace proxent::kernel
