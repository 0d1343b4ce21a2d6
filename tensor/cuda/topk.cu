// The running top k of rows. One block per row keeps the k best so far and, behind them, room for
// as many candidates: scores that beat the k-th best are appended in any order, and when the room
// is full they are sorted and merged. A score and its column are compared as one number, no two of
// which are equal, so the result does not depend on who appended first. Scores are read once; of
// random ones about k log(cols / k) ever become candidates, so this runs at the speed of memory
// unless k is of the order of the columns.
#include "tensor/topk.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"
#include "tensor/cuda/shared_memory.cuh"
#include "tensor/ordered_bits.h"

namespace proxent::kernel {
namespace {
using cuda::elements;

constexpr unsigned kThreads = 256;
constexpr unsigned kPerThread = 4;  // scores in flight
constexpr std::int64_t kSharedBytes = 48 << 10;

// A score and its column: the larger entry stands first in the result. All bits 0: no entry.
template <class T>
struct alignas(2 * sizeof(T)) Entry {
  using Bits = OrderedBits<T>;
  Bits score, order;  // order: the column, inverted, so that of equal scores the lower column leads

  __device__ static Entry of(T score, unsigned column) {
    return {ordered_bits(score), static_cast<Bits>(~column)};
  }
  __device__ bool exists() const { return score != 0; }
  __device__ std::int32_t column() const {
    return static_cast<std::int32_t>(~static_cast<unsigned>(order));
  }
  __device__ bool operator>(const Entry& other) const {
    return score != other.score ? score > other.score : order > other.order;
  }
};

// Compares entries `distance` apart, all pairs of the n at once, and exchanges those whose order is
// wrong: `is_down(i)` says for the pair that begins at i whether the larger comes first.
template <class T, class IsDown>
__device__ void exchange(Entry<T>* entries, int n, int distance, const IsDown& is_down) {
  for (int pair = threadIdx.x; pair < n / 2; pair += blockDim.x) {
    const int i = 2 * pair - (pair & (distance - 1));
    const Entry<T> first = entries[i], second = entries[i + distance];
    if ((second > first) == is_down(i)) {
      entries[i] = second;
      entries[i + distance] = first;
    }
  }
  __syncthreads();
}
// Batcher's bitonic sort of n entries, a power of two, into ascending order.
template <class T>
__device__ void sort_up(Entry<T>* entries, int n) {
  for (int size = 2; size <= n; size *= 2)
    for (int distance = size / 2; distance > 0; distance /= 2)
      exchange(entries, n, distance, [size](int i) { return (i & size) != 0; });
}
// The last round of it: entries that fall and then rise, into descending order.
template <class T>
__device__ void merge_down(Entry<T>* entries, int n) {
  for (int distance = n / 2; distance > 0; distance /= 2)
    exchange(entries, n, distance, [](int) { return true; });
}

template <class T>
struct Rows {
  const T* scores;  // (rows, cols)
  std::int64_t rows;
  unsigned cols, first_column;
  int k;
  T* values;              // (rows, k)
  std::int32_t* indices;  // (rows, k)
};

// A row's k best in the front of `entries`, in descending order, and its candidates behind: the
// first at the very end, the last in the middle at most. What is neither does not exist.
template <class T>
struct Best {
  Entry<T>* entries;
  int capacity, k;
  int* candidates;  // shared by the block; may exceed the room
  Entry<T> threshold;

  __device__ int room() const { return capacity / 2; }

  __device__ void load(const T* values, const std::int32_t* indices) {
    for (int i = threadIdx.x; i < capacity; i += blockDim.x)
      entries[i] = i < k && indices[i] >= 0
                       ? Entry<T>::of(values[i], static_cast<unsigned>(indices[i]))
                       : Entry<T>{};
    if (threadIdx.x == 0) *candidates = 0;
    __syncthreads();
    threshold = entries[k - 1];
  }
  __device__ bool beats(T score, unsigned column) const {
    return score > -std::numeric_limits<T>::infinity() && Entry<T>::of(score, column) > threshold;
  }
  // False if there was no room.
  __device__ bool append(T score, unsigned column) {
    const int slot = atomicAdd(candidates, 1);
    if (slot < room()) entries[capacity - 1 - slot] = Entry<T>::of(score, column);
    return slot < room();
  }
  // Sorts the candidates into the best and forgets them. All threads, behind a barrier.
  __device__ void merge() {
    const int count = min(*candidates, room());
    int sorted = 1;
    while (sorted < count) sorted *= 2;
    sort_up(entries + capacity - sorted, sorted);
    merge_down(entries, capacity);
    for (int i = k + static_cast<int>(threadIdx.x); i < capacity; i += blockDim.x) entries[i] = {};
    if (threadIdx.x == 0) *candidates = 0;
    threshold = entries[k - 1];
    __syncthreads();
  }
  __device__ void store(T* values, std::int32_t* indices) const {
    for (int i = threadIdx.x; i < k; i += blockDim.x) {
      const Entry<T> entry = entries[i];
      values[i] = entry.exists() ? score_of<T>(entry.score) : -std::numeric_limits<T>::infinity();
      indices[i] = entry.exists() ? entry.column() : -1;
    }
  }
};

// The scores of a row from `first` on that this thread looks at, and which of them still want to be
// candidates.
template <class T>
struct Look {
  T scores[kPerThread];
  unsigned first;
  unsigned open = 0;  // bit j: scores[j]

  __device__ Look(const T* row, unsigned cols, unsigned first) : first(first) {
#pragma unroll
    for (unsigned j = 0; j < kPerThread; ++j)
      scores[j] = place(j) < cols ? row[place(j)] : -std::numeric_limits<T>::infinity();
  }
  __device__ unsigned place(unsigned j) const { return first + threadIdx.x + j * kThreads; }
  __device__ void choose(const Best<T>& best, unsigned first_column) {
#pragma unroll
    for (unsigned j = 0; j < kPerThread; ++j)
      open |= best.beats(scores[j], first_column + place(j)) ? 1u << j : 0u;
  }
  // Appends the chosen ones that find room.
  __device__ void append(Best<T>& best, unsigned first_column) {
#pragma unroll
    for (unsigned j = 0; j < kPerThread; ++j)
      if (open >> j & 1u && best.append(scores[j], first_column + place(j))) open ^= 1u << j;
  }
  __device__ void reconsider(const Best<T>& best, unsigned first_column) {
#pragma unroll
    for (unsigned j = 0; j < kPerThread; ++j)
      if (open >> j & 1u && !best.beats(scores[j], first_column + place(j))) open ^= 1u << j;
  }
};

template <class T, bool kInShared>
__global__ void __launch_bounds__(kThreads)
    top_k_kernel(Rows<T> rows, int capacity, Entry<T>* memory) {
  __shared__ int candidates;
  Best<T> best{kInShared ? cuda::dynamic_shared_memory<Entry<T>>()
                         : memory + std::int64_t{blockIdx.x} * capacity,
               capacity, rows.k, &candidates};
  for (std::int64_t row = blockIdx.x; row < rows.rows; row += gridDim.x) {
    T* values = rows.values + row * rows.k;
    std::int32_t* indices = rows.indices + row * rows.k;
    best.load(values, indices);
    bool is_changed = false;
    for (unsigned first = 0; first < rows.cols; first += kThreads * kPerThread) {
      Look<T> look(rows.scores + row * rows.cols, rows.cols, first);
      look.choose(best, rows.first_column);
      look.append(best, rows.first_column);
      while (__syncthreads_or(look.open != 0)) {
        best.merge();
        is_changed = true;
        look.reconsider(best, rows.first_column);
        look.append(best, rows.first_column);
      }
    }
    if (candidates > 0) {
      best.merge();
      is_changed = true;
    }
    if (is_changed) best.store(values, indices);
    __syncthreads();  // the next row may write
  }
}

template <class T>
void run(const Tensor& scores, std::int64_t first_column, Tensor& values, Tensor& indices) {
  const Rows<T> rows{.scores = elements<T>(scores),
                     .rows = scores.dim(0),
                     .cols = static_cast<unsigned>(scores.dim(1)),
                     .first_column = static_cast<unsigned>(first_column),
                     .k = static_cast<int>(values.dim(1)),
                     .values = elements<T>(values),
                     .indices = elements<std::int32_t>(indices)};
  const auto room =
      std::bit_ceil(std::max<std::uint64_t>(static_cast<std::uint64_t>(rows.k), kThreads));
  const auto capacity = static_cast<int>(2 * room);
  const std::int64_t bytes = capacity * std::int64_t{sizeof(Entry<T>)};
  if (bytes <= kSharedBytes) {
    cuda::launch_kernel(top_k_kernel<T, true>, cuda::blocks_for(rows.rows, 1), kThreads,
                        static_cast<std::size_t>(bytes), rows, capacity,
                        static_cast<Entry<T>*>(nullptr));
    return;
  }
  // A large k: as many blocks as run at once, each with its own piece of memory.
  const auto blocks = std::min<std::int64_t>(rows.rows, cuda::multiprocessors());
  auto* memory = static_cast<Entry<T>*>(cuda::workspace(blocks * bytes));
  cuda::launch_kernel(top_k_kernel<T, false>, static_cast<unsigned>(blocks), kThreads, 0, rows,
                      capacity, memory);
}
}  // namespace

void top_k_update(Cuda, const Tensor& scores, std::int64_t first_column, Tensor& values,
                  Tensor& indices) {
  visit_float(scores.dtype(),
              [&](auto zero) { run<decltype(zero)>(scores, first_column, values, indices); });
}

}  // namespace proxent::kernel
