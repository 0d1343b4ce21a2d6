// How a grid walks over a tensor of (rows, channels), channels innermost. Neighbouring threads take
// neighbouring channels, kCount each, so that a line of threads reads one stretch of a row; a
// block's lines take neighbouring rows; the blocks along y of the grid take turns over the rows.
// Every thread stays in its channels: what belongs to a channel can live in its registers.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::cuda {

// kCount neighbouring elements, in as few instructions as 16 bytes each allow.
template <class T, int kCount>
struct Wide {
  static constexpr int kPerPart = kCount < kPackSize<T> ? kCount : kPackSize<T>;
  Pack<T, kPerPart> part[kCount / kPerPart];

  __device__ T& at(int i) { return part[i / kPerPart].at[i % kPerPart]; }
  __device__ T at(int i) const { return part[i / kPerPart].at[i % kPerPart]; }
};
template <int kCount, class T>
__device__ inline Wide<T, kCount> load_wide(const T* from) {
  using W = Wide<T, kCount>;
  W wide;
#pragma unroll
  for (int i = 0; i < kCount / W::kPerPart; ++i)
    wide.part[i] = load_pack<W::kPerPart>(from + i * W::kPerPart);
  return wide;
}
template <int kCount, class T>
__device__ inline void store_wide(T* to, const Wide<T, kCount>& wide) {
  using W = Wide<T, kCount>;
#pragma unroll
  for (int i = 0; i < kCount / W::kPerPart; ++i)
    store_pack<W::kPerPart>(to + i * W::kPerPart, wide.part[i]);
}

// Calls f with the number of channels that one load of 16 bytes brings, as a constant, or with 1 if
// rows of so many channels do not consist of such loads. Double is for checks, not for speed: 1.
template <class T, class F>
void choose_pack(std::int64_t channels, std::initializer_list<const void*> addresses, const F& f) {
  if constexpr (!std::is_same_v<T, double>)
    if (channels % kPackSize<T> == 0 && are_aligned(addresses))
      return f(std::integral_constant<int, kPackSize<T>>{});
  f(std::integral_constant<int, 1>{});
}

// Channels per thread where whole packs are possible: of the types of two bytes 16 bytes, and of
// every type a byte of bits.
inline constexpr int kWideChannels = 8;

struct RowWalk {
  unsigned rows;
  int channels;
  int columns;             // threads that share a line, a power of two up to 32
  unsigned tiles, splits;  // the grid: along the channels, along the rows

  dim3 grid() const { return {tiles, splits}; }

  __device__ std::int64_t offset(unsigned row) const { return std::int64_t{row} * channels; }
  // Row number `row` from the start or from the end; where there is none, the last that there is,
  // so that it may be read.
  __device__ unsigned from_start(unsigned row) const { return row < rows ? row : rows - 1; }
  __device__ unsigned from_end(unsigned row) const { return row < rows ? rows - 1 - row : 0; }
};

// kCount channels per thread, at most `most_columns` threads along them, about `blocks` blocks of
// `threads`, fewer where a line would have no row.
template <int kCount>
RowWalk walk_rows(std::int64_t rows, std::int64_t channels, unsigned threads, int most_columns,
                  unsigned blocks) {
  const std::int64_t needed = (channels + kCount - 1) / kCount;
  const auto columns = static_cast<int>(
      std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(needed, 1, most_columns))));
  const unsigned tiles = blocks_for(channels, std::int64_t{columns} * kCount);
  const unsigned lines = threads / static_cast<unsigned>(columns);
  const unsigned most = std::max(1u, blocks_for(rows, lines));
  const unsigned wanted = tiles == 0 ? 1 : std::max(1u, blocks / tiles);
  return {blocks_for(rows, 1), static_cast<int>(channels), columns, tiles, std::min(most, wanted)};
}

// Where a thread works: in the channels from `channel` on, in the rows first, first + step and so
// on. A thread beside the last channel has no rows; its channel is one that may be read.
struct Place {
  int column, channel;
  unsigned first, step;
};
template <int kCount>
__device__ inline Place place_of(const RowWalk& walk) {
  const auto columns = static_cast<unsigned>(walk.columns);
  const unsigned line = threadIdx.x / columns, lines = blockDim.x / columns;
  const auto column = static_cast<int>(threadIdx.x & (columns - 1));
  const int channel = (static_cast<int>(blockIdx.x) * walk.columns + column) * kCount;
  if (channel >= walk.channels) return {column, 0, walk.rows, 1};
  return {column, channel, blockIdx.y * lines + line, lines * gridDim.y};
}

// Two values in one register pair, and sums of them.
template <class C>
using Two = std::conditional_t<std::is_same_v<C, double>, double2, float2>;
struct PlusTwo {
  template <class V>
  __device__ V operator()(V a, V b) const {
    return {a.x + b.x, a.y + b.y};
  }
};
__device__ inline float2 shuffle_xor(float2 value, int bits) {
  return {shuffle_xor(value.x, bits), shuffle_xor(value.y, bits)};
}
__device__ inline double2 shuffle_xor(double2 value, int bits) {
  return {shuffle_xor(value.x, bits), shuffle_xor(value.y, bits)};
}

// values[k], of a thread's channel k, reduced over the block's lines: those of one warp by
// shuffles, warps through shared memory. Thread t gets the result of the block's channel t, of
// which there are columns * kCount; the others get nothing of use. All threads must call; the order
// of the operations depends on the sizes alone. kMostWidth: of columns * kCount.
template <unsigned kThreads, int kMostWidth, class V, int kCount, class Op>
__device__ V reduce_lines(V (&values)[kCount], int columns, Op op) {
  constexpr unsigned kWarps = kThreads / 32;
  __shared__ V partial[kWarps][kMostWidth];
  for (int bits = columns; bits < 32; bits *= 2)
    for (int k = 0; k < kCount; ++k) values[k] = op(values[k], shuffle_xor(values[k], bits));
  const auto lane = static_cast<int>(threadIdx.x % 32);
  if (lane < columns)
    for (int k = 0; k < kCount; ++k) partial[threadIdx.x / 32][lane * kCount + k] = values[k];
  __syncthreads();
  V total = values[0];
  if (static_cast<int>(threadIdx.x) < columns * kCount) {
    total = partial[0][threadIdx.x];
    for (unsigned warp = 1; warp < kWarps; ++warp) total = op(total, partial[warp][threadIdx.x]);
  }
  __syncthreads();  // the next call may write
  return total;
}

}  // namespace proxent::cuda
