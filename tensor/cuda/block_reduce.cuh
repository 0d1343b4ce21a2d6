// Sums and maxima over the threads of a warp or a block. Every thread gets the result, and the
// order of the operations depends on the block's size alone: two runs agree in every bit.
//
// Blocks are one-dimensional, of 32 to 1024 threads, a multiple of 32; all of them must call.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace proxent::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
// The other one if one is NaN.
struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return max(a, b);
  }
};

// The value of the lane whose number differs in `bits`. Overload it for a struct to reduce.
template <class T>
__device__ inline T shuffle_xor(T value, int bits) {
  return __shfl_xor_sync(kAllLanes, value, bits);
}

template <class T, class Op>
__device__ T warp_reduce(T value, Op op) {
  for (int bits = 16; bits > 0; bits /= 2) value = op(value, shuffle_xor(value, bits));
  return value;
}
template <class T>
__device__ T warp_sum(T value) {
  return warp_reduce(value, Plus{});
}

// Warps reduce by shuffles, their results by one pass over shared memory in each thread: 32 reads
// at most, all lanes of the same word, are cheaper than a second round of shuffles.
template <class T, class Op>
__device__ T block_reduce(T value, Op op) {
  __shared__ T partial[32];
  value = warp_reduce(value, op);
  if (blockDim.x == 32) return value;
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  value = partial[0];
  for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) value = op(value, partial[warp]);
  __syncthreads();  // the next call may write
  return value;
}
template <class T>
__device__ T block_sum(T value) {
  return block_reduce(value, Plus{});
}
template <class T>
__device__ T block_max(T value) {
  return block_reduce(value, Larger{});
}

// Threads of a block that works on one row: four elements each where the row is long enough.
inline unsigned threads_for_row(std::int64_t cols) {
  constexpr std::int64_t kMost = 512;
  const std::int64_t threads = (cols + 127) / 128 * 32;
  return static_cast<unsigned>(threads < 32 ? 32 : threads > kMost ? kMost : threads);
}

}  // namespace proxent::cuda
