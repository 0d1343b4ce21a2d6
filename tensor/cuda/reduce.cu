// Sums over axes, their broadcast back, and the largest of each row.
#include "tensor/reduce.h"

#include <algorithm>

#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/broadcast.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::Compute;
using cuda::elements;

constexpr int kAxes = Shape::kMaxRank;

// Some of x's axes, neighbours that can be walked as one joined, the last one last: entry i lies at
// offset(i).
struct Axes {
  Strides sizes{1, 1, 1, 1}, strides{};
  int count = 0;

  std::int64_t entries() const { return sizes[0] * sizes[1] * sizes[2] * sizes[3]; }
  // In front of all that were put before.
  void put(std::int64_t size, std::int64_t stride) {
    if (size == 1) return;
    const int outermost = kAxes - count;
    if (count > 0 && stride == sizes[outermost] * strides[outermost]) {
      sizes[outermost] *= size;
    } else {
      ++count;
      sizes[kAxes - count] = size;
      strides[kAxes - count] = stride;
    }
  }
  __device__ std::int64_t offset(std::int64_t i) const {
    return count <= 1 ? i * strides[kAxes - 1] : cuda::offset_of(i, sizes, strides);
  }
};

// What is summed: each output, an entry of `kept`, is the sum over all entries of `summed`.
struct Plan {
  Axes kept, summed;

  Plan(const Shape& x, const Shape& y) {
    const auto full = padded_sizes(x), small = padded_sizes(y);
    std::int64_t stride = 1;
    for (int axis = kAxes - 1; axis >= 0; stride *= full[axis--])
      (small[axis] == full[axis] ? kept : summed).put(full[axis], stride);
  }
};

// y[part, o] = sum of x over the part's share of output o's entries. One block per output and part,
// neighbouring threads read neighbouring entries: for sums along the last axis. Reads x once.
template <class In, class Out>
__global__ void sum_rows_kernel(const In* x, Out* y, Plan plan, std::int64_t entries,
                                std::int64_t share) {
  x += plan.kept.offset(blockIdx.x);
  const std::int64_t first = blockIdx.y * share, last = min(entries, first + share);
  Compute<In> sum = 0;
  for (std::int64_t i = first + threadIdx.x; i < last; i += blockDim.x)
    sum += cuda::widen(x[plan.summed.offset(i)]);
  sum = cuda::block_sum(sum);
  if (threadIdx.x == 0)
    y[std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x] = cuda::round_to<Out>(sum);
}

constexpr unsigned kColumns = 32, kLines = 8;

// The same with the threads of a line on neighbouring outputs, and the lines taking turns over the
// entries: for sums along other axes, whose outputs lie side by side. Reads x once.
template <class In, class Out>
__global__ void sum_columns_kernel(const In* x, Out* y, Plan plan, std::int64_t outputs,
                                   std::int64_t entries, std::int64_t share) {
  __shared__ Compute<In> sums[kLines][kColumns];
  const std::int64_t output = std::int64_t{blockIdx.x} * kColumns + threadIdx.x;
  const std::int64_t first = blockIdx.y * share, last = min(entries, first + share);
  Compute<In> sum = 0;
  if (output < outputs) {
    x += plan.kept.offset(output);
    for (std::int64_t i = first + threadIdx.y; i < last; i += kLines)
      sum += cuda::widen(x[plan.summed.offset(i)]);
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || output >= outputs) return;
  for (unsigned line = 1; line < kLines; ++line) sum += sums[line][threadIdx.x];
  y[blockIdx.y * outputs + output] = cuda::round_to<Out>(sum);
}

// Launches one pass: y (parts, outputs) from x.
template <class In, class Out>
void sum_parts(const In* x, Out* y, const Plan& plan, std::int64_t parts) {
  const std::int64_t outputs = plan.kept.entries(), entries = plan.summed.entries();
  const std::int64_t share = (entries + parts - 1) / parts;
  const auto grid_y = static_cast<unsigned>(parts);
  // Neighbouring outputs are neighbours in x unless the last axis is summed away.
  if (plan.kept.count > 0 && plan.kept.strides[kAxes - 1] == 1)
    cuda::launch_kernel(sum_columns_kernel<In, Out>,
                        dim3(cuda::blocks_for(outputs, kColumns), grid_y), dim3(kColumns, kLines),
                        0, x, y, plan, outputs, entries, share);
  else
    cuda::launch_kernel(sum_rows_kernel<In, Out>, dim3(cuda::blocks_for(outputs, 1), grid_y),
                        cuda::threads_for_row(share), 0, x, y, plan, entries, share);
}

// Few outputs of many entries leave most of the GPU idle: then each output's entries are cut into
// parts, by sizes alone, so that the order of the sum is the same on every GPU.
std::int64_t parts_of(const Plan& plan) {
  constexpr std::int64_t kSmallestShare = 2048, kElementsInFlight = 1 << 21;
  const std::int64_t outputs = plan.kept.entries(), entries = plan.summed.entries();
  if (outputs == 0) return 1;
  const std::int64_t wanted = kElementsInFlight / kSmallestShare / outputs;
  return std::clamp<std::int64_t>(entries / kSmallestShare, 1, std::max<std::int64_t>(1, wanted));
}

// y[i] = x at i's place. One element per thread; x is small and stays in the cache.
template <class T>
__global__ void broadcast_kernel(const T* x, T* y, std::int64_t n, Strides sizes, Strides strides) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[cuda::offset_of(i, sizes, strides)];
}

// An element and where it stands.
template <class T>
struct Candidate {
  T value;
  int index;
};
template <class T>
__device__ Candidate<T> shuffle_xor(Candidate<T> c, int bits) {
  return {cuda::shuffle_xor(c.value, bits), cuda::shuffle_xor(c.index, bits)};
}
// NaN is the largest; of equals the first.
struct Leading {
  template <class T>
  __device__ Candidate<T> operator()(Candidate<T> a, Candidate<T> b) const {
    const bool a_is_nan = a.value != a.value, b_is_nan = b.value != b.value;
    if (a_is_nan != b_is_nan) return a_is_nan ? a : b;
    if (!a_is_nan && a.value != b.value) return a.value > b.value ? a : b;
    return a.index < b.index ? a : b;
  }
};

// One block per row; reads x once. A thread without elements of its own stands for the first one.
template <class T>
__global__ void max_rows_kernel(const T* x, T* values, std::int32_t* indices, int cols) {
  x += std::int64_t{blockIdx.x} * cols;
  Candidate<Compute<T>> best{cuda::widen(x[0]), 0};
  for (int c = threadIdx.x; c < cols; c += blockDim.x)
    best = Leading{}(best, {cuda::widen(x[c]), c});
  best = cuda::block_reduce(best, Leading{});
  if (threadIdx.x != 0) return;
  values[blockIdx.x] = cuda::round_to<T>(best.value);
  indices[blockIdx.x] = best.index;
}

constexpr unsigned kThreads = 256;
}  // namespace

void sum_to(Cuda, const Tensor& x, Tensor& y) {
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    using C = Compute<T>;
    const Plan plan(x.shape(), y.shape());
    const std::int64_t parts = parts_of(plan);
    if (parts == 1) return sum_parts(elements<T>(x), elements<T>(y), plan, 1);
    Tensor sums({parts, y.numel()}, kDType<C>, Device::cuda);
    sum_parts(elements<T>(x), elements<C>(sums), plan, parts);
    const Plan over_parts(sums.shape(), {y.numel()});
    sum_parts(elements<C>(sums), elements<T>(y), over_parts, 1);
  });
}

void broadcast_to(Cuda, const Tensor& x, Tensor& y) {
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(broadcast_kernel<T>, cuda::blocks_for(y.numel(), kThreads), kThreads, 0,
                        elements<T>(x), elements<T>(y), y.numel(), padded_sizes(y.shape()),
                        broadcast_strides(x.shape(), y.shape()));
  });
}

void max_last(Cuda, const Tensor& x, Tensor& values, Tensor& indices) {
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(max_rows_kernel<T>, cuda::blocks_for(x.dim(0), 1),
                        cuda::threads_for_row(x.dim(1)), 0, elements<T>(x), elements<T>(values),
                        elements<std::int32_t>(indices), static_cast<int>(x.dim(1)));
  });
}

}  // namespace proxent::kernel
