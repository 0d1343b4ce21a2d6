// Batch normalisation in four passes: statistics and normalisation forward, sums and gradient
// backward. Each moves the bytes it must once, 16 at a time, and little else counts: a ResNet
// spends half of its step here. Passes that only read go from the last row to the first, and those
// that follow them from the first to the last: each begins with what the one before left in the
// cache.
#include "tensor/batch_norm.h"

#include <cmath>

#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/channel_rows.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::Compute;
using cuda::elements;
using cuda::kWideChannels;
using cuda::load_wide;
using cuda::Place;
using cuda::RowWalk;
using cuda::Two;
using cuda::Wide;

// ---- sums of two values per channel over all rows

// One block of these per multiprocessor: few partial sums to join, and enough loads on the way.
constexpr unsigned kSumThreads = 512;
// Channels of a block: so few that a wide network's tiles share the joining of the partial sums.
constexpr int kMostWidth = 64;
template <int kCount>
constexpr int kSumColumns = kCount == 1 ? 32 : kMostWidth / kCount;

template <class V, int kCount>
__device__ V sum_over_lines(V (&sums)[kCount], int columns) {
  return cuda::reduce_lines<kSumThreads, kMostWidth>(sums, columns, cuda::PlusTwo{});
}

// How many blocks of a tile have written their partial sums; zero between kernels.
constexpr unsigned kMostSharedTiles = 4096;
__device__ unsigned arrivals[kMostSharedTiles];

// True in the last block of a tile to come here, which then sees what the others wrote. Which one
// that is differs between runs, what it does with their sums does not.
__device__ bool is_last_of_tile() {
  __shared__ bool is_last;
  __syncthreads();
  if (gridDim.y == 1) return true;
  if (threadIdx.x == 0) {
    __threadfence();  // of what the whole block wrote: the barrier came before
    is_last = atomicInc(&arrivals[blockIdx.x], gridDim.y - 1) == gridDim.y - 1;
    __threadfence();
  }
  __syncthreads();
  return is_last;
}

// The sum of term(parts[split, channel], split) over the splits, for the block's `width` channels:
// groups of threads take turns over the splits, several of which are on the way at a time. Thread t
// gets the block's channel t.
template <class C, class Term>
__device__ Two<C> join_splits(const Two<C>* parts, int channels, int width, const Term& term) {
  constexpr unsigned kMostGroups = 16, kBatch = 8;
  __shared__ Two<C> totals[kMostGroups][kMostWidth];
  const unsigned groups = min(blockDim.x / width, kMostGroups), splits = gridDim.y;
  const unsigned column = threadIdx.x % width, group = threadIdx.x / width;
  const int channel = min(static_cast<int>(blockIdx.x * width + column), channels - 1);
  Two<C> total{};
  for (unsigned first = group; group < groups && first < splits; first += kBatch * groups) {
    Two<C> batch[kBatch];
#pragma unroll
    for (unsigned i = 0; i < kBatch; ++i)
      batch[i] =
          __ldcg(parts + std::int64_t{min(first + i * groups, splits - 1)} * channels + channel);
#pragma unroll
    for (unsigned i = 0; i < kBatch; ++i) {
      const unsigned split = first + i * groups;
      const Two<C> part = term(batch[i], split);
      total.x += split < splits ? part.x : C(0);
      total.y += split < splits ? part.y : C(0);
    }
  }
  if (group < groups) totals[group][column] = total;
  __syncthreads();
  if (group > 0) return total;
  for (unsigned other = 1; other < groups; ++other) {
    total.x += totals[other][column].x;
    total.y += totals[other][column].y;
  }
  return total;
}

// ---- statistics

template <class C>
struct Statistics {
  C eps, momentum, keep, unbiased;  // keep = 1 - momentum
  C *mean, *invstd;
  C *running_mean, *running_var;  // null: not tracked

  __device__ void write(int channel, C average, C variance) const {
    mean[channel] = average;
    invstd[channel] = 1 / sqrt(variance + eps);
    if (!running_mean || !isfinite(average + variance)) return;
    running_mean[channel] = keep * running_mean[channel] + momentum * average;
    running_var[channel] = keep * running_var[channel] + momentum * (variance * unbiased);
  }
};

// How many rows the blocks of a split have.
struct RowsOfSplit {
  unsigned lines, whole, rest;  // every split has `whole` rows, the first ones `rest` more

  __device__ explicit RowsOfSplit(const RowWalk& walk)
      : lines(blockDim.x / static_cast<unsigned>(walk.columns)),
        whole(walk.rows / (lines * gridDim.y) * lines),
        rest(walk.rows % (lines * gridDim.y)) {}
  __device__ unsigned operator()(unsigned split) const {
    return whole + min(max(rest, split * lines) - split * lines, lines);
  }
};

// The mean of a thread's rows and the sum of squared deviations from it, for kCount channels.
template <class C, int kCount>
struct Deviations {
  C rows = 0, mean[kCount] = {}, squares[kCount] = {};
};

// Deviations are taken from the mean of the first rows, which is near that of all, so that squares
// cost no digits, whatever the data. Rows that are missing in the last turn are made zeros and not
// skipped: around a branch the compiler would no longer have all loads on the way at once.
template <class T, int kCount>
__device__ Deviations<Compute<T>, kCount> deviations_of(const T* x, const RowWalk& walk,
                                                        const Place& at) {
  using C = Compute<T>;
  constexpr unsigned kRows = kCount == 1 ? 4 : 128 / sizeof(Wide<T, kCount>);
  Deviations<C, kCount> out;
  C pivot[kCount] = {}, sum[kCount] = {};
  for (unsigned first = at.first; first < walk.rows; first += kRows * at.step) {
    Wide<T, kCount> in[kRows];
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i)
      in[i] = load_wide<kCount>(x + walk.offset(walk.from_end(first + i * at.step)) + at.channel);
    if (first == at.first)
      for (int k = 0; k < kCount; ++k)
        for (unsigned i = 0; i < kRows; ++i) pivot[k] += cuda::widen(in[i].at(k)) / kRows;
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i) {
      const bool is_row = first + i * at.step < walk.rows;
      out.rows += is_row ? 1 : 0;
      for (int k = 0; k < kCount; ++k) {
        const C deviation = is_row ? cuda::widen(in[i].at(k)) - pivot[k] : C(0);
        sum[k] += deviation;
        out.squares[k] = std::fma(deviation, deviation, out.squares[k]);
      }
    }
  }
  const C share = out.rows > 0 ? 1 / out.rows : C(0);
  for (int k = 0; k < kCount; ++k) {
    const C average = sum[k] * share;
    out.mean[k] = pivot[k] + average;
    out.squares[k] -= sum[k] * average;
  }
  return out;
}

// mean and sum of squared deviations of the block's rows; thread t gets the block's channel t. Sums
// around the mean of the first line, which has a row in every block.
template <class C, int kCount>
__device__ Two<C> join_lines(const Deviations<C, kCount>& own, const RowWalk& walk,
                             const Place& at) {
  __shared__ C origin[kMostWidth];
  if (static_cast<int>(threadIdx.x) < walk.columns)
    for (int k = 0; k < kCount; ++k) origin[at.column * kCount + k] = own.mean[k];
  __syncthreads();
  Two<C> sums[kCount];
  for (int k = 0; k < kCount; ++k) {
    const C shift = own.mean[k] - origin[at.column * kCount + k];
    sums[k].x = own.rows * shift;
    sums[k].y = std::fma(sums[k].x, shift, own.squares[k]);
  }
  const Two<C> total = sum_over_lines(sums, walk.columns);
  if (static_cast<int>(threadIdx.x) >= walk.columns * kCount) return total;
  const C shift = total.x / RowsOfSplit(walk)(blockIdx.y);
  return {origin[threadIdx.x] + shift, total.y - total.x * shift};
}

// Reads x once; parts (splits, channels) go through the cache. The last block of a tile joins them.
template <class T, int kCount>
__global__ void __launch_bounds__(kSumThreads, 1)
    batch_statistics_kernel(const T* x, RowWalk walk, Two<Compute<T>>* parts,
                            Statistics<Compute<T>> out) {
  using C = Compute<T>;
  const Place at = cuda::place_of<kCount>(walk);
  const Two<C> part = join_lines(deviations_of<T, kCount>(x, walk, at), walk, at);
  const int width = walk.columns * kCount, column = static_cast<int>(threadIdx.x) % width;
  const int channel = static_cast<int>(blockIdx.x) * width + column;
  const bool has_channel = channel < walk.channels;
  const bool is_writer = has_channel && static_cast<int>(threadIdx.x) < width;
  if (is_writer) parts[std::int64_t{blockIdx.y} * walk.channels + channel] = part;
  if (!is_last_of_tile()) return;

  const C origin = has_channel ? __ldcg(parts + channel).x : C(0);
  const RowsOfSplit rows_of_split(walk);
  const Two<C> total =
      join_splits<C>(parts, walk.channels, width, [&](Two<C> split_part, unsigned split) {
        const C sum = rows_of_split(split) * (split_part.x - origin);
        return Two<C>{sum, std::fma(sum, split_part.x - origin, split_part.y)};
      });
  if (!is_writer) return;
  const C rows = walk.rows, shift = total.x / rows;
  const C variance = (total.y - total.x * shift) / rows;
  out.write(channel, origin + shift, variance < 0 ? C(0) : variance);  // NaN stays NaN
}

template <class C>
__global__ void running_statistics_kernel(const C* running_mean, const C* running_var, C eps,
                                          int channels, C* mean, C* invstd) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= channels) return;
  mean[c] = running_mean[c];
  invstd[c] = 1 / sqrt(running_var[c] + eps);
}

// ---- normalisation

// (x - mean) scale + shift with scale = gamma invstd, and not x scale + (shift - mean scale), which
// would lose digits where the mean is large. Forward and backward round it alike.
template <class C>
__device__ C affine(C x, C mean, C scale, C shift) {
  return std::fma(x - mean, scale, shift);
}

// A batch norm's values per channel in device memory.
template <class C>
struct Channels {
  const C *mean, *invstd, *gamma, *beta;
  explicit Channels(const BatchNormKept& kept)
      : mean(elements<C>(kept.mean)),
        invstd(elements<C>(kept.invstd)),
        gamma(elements<C>(kept.gamma)),
        beta(elements<C>(kept.beta)) {}
};

// Those of one thread's channels in its registers.
template <class C, int kCount>
struct Affine {
  C mean[kCount], scale[kCount], shift[kCount];
  __device__ Affine(const Channels<C>& from, int channel) {
    for (int k = 0; k < kCount; ++k) {
      mean[k] = from.mean[channel + k];
      scale[k] = from.gamma[channel + k] * from.invstd[channel + k];
      shift[k] = from.beta[channel + k];
    }
  }
  __device__ C operator()(C x, int k) const { return affine(x, mean[k], scale[k], shift[k]); }
};

constexpr unsigned kMapThreads = 256;
constexpr int kMapColumns = 32;

// y = [relu](affine(x) [+ residual]); passed: a bit for each element, where the ReLU of a residual
// sum let it pass. Reads x and residual once, writes y and the bits.
template <class T, bool kHasRelu, bool kHasResidual>
__global__ void __launch_bounds__(kMapThreads, 4)
    batch_norm_kernel(const T* x, Channels<Compute<T>> channels, const T* residual, RowWalk walk,
                      T* y, std::uint8_t* passed) {
  using C = Compute<T>;
  constexpr int kCount = kWideChannels;
  constexpr unsigned kRows = 64 / sizeof(Wide<T, kCount>) / (kHasResidual ? 2 : 1);
  const Place at = cuda::place_of<kCount>(walk);
  const Affine<C, kCount> f(channels, at.channel);
  for (unsigned first = at.first; first < walk.rows; first += kRows * at.step) {
    Wide<T, kCount> in[kRows], added[kRows];
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i) {
      const std::int64_t offset = walk.offset(walk.from_start(first + i * at.step)) + at.channel;
      in[i] = load_wide<kCount>(x + offset);
      if constexpr (kHasResidual) added[i] = load_wide<kCount>(residual + offset);
    }
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i) {
      const unsigned row = first + i * at.step;
      if (row >= walk.rows) break;
      const std::int64_t offset = walk.offset(row) + at.channel;
      Wide<T, kCount> out;
      unsigned bits = 0;
      for (int k = 0; k < kCount; ++k) {
        C value = f(cuda::widen(in[i].at(k)), k);
        if constexpr (kHasResidual) value += cuda::widen(added[i].at(k));
        bits |= unsigned{value > 0} << k;
        if constexpr (kHasRelu) value = value < 0 ? C(0) : value;  // NaN stays NaN
        out.at(k) = cuda::round_to<T>(value);
      }
      cuda::store_wide(y + offset, out);
      if constexpr (kHasRelu && kHasResidual) passed[offset / 8] = static_cast<std::uint8_t>(bits);
    }
  }
}

// The same for any number of channels, and for tensors that do not begin at a multiple of 16 bytes:
// eight elements per thread, whose channels are counted up.
template <class T>
__global__ void batch_norm_flat_kernel(const T* x, Channels<Compute<T>> channels, const T* residual,
                                       bool has_relu, std::int64_t n, int count, T* y,
                                       std::uint8_t* passed) {
  using C = Compute<T>;
  const std::int64_t first = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * 8;
  if (first >= n) return;
  int c = static_cast<int>(first % count);
  unsigned bits = 0;
  for (std::int64_t i = first; i < n && i < first + 8; ++i) {
    const Affine<C, 1> f(channels, c);
    C value = f(cuda::widen(x[i]), 0);
    if (residual) value += cuda::widen(residual[i]);
    bits |= unsigned{value > 0} << (i - first);
    if (has_relu) value = value < 0 ? C(0) : value;
    y[i] = cuda::round_to<T>(value);
    c = c + 1 == count ? 0 : c + 1;
  }
  if (passed) passed[first / 8] = static_cast<std::uint8_t>(bits);
}

// ---- backward

// How backward knows where the ReLU let dy pass.
enum class Relu { none, from_x, from_bits };

template <class T>
struct BackwardInput {
  const T *dy, *x;
  const std::uint8_t* passed;
  Channels<Compute<T>> channels;
  BackwardInput(const Tensor& dy, const BatchNormKept& kept)
      : dy(elements<T>(dy)),
        x(elements<T>(kept.x)),
        passed(kept.passed.is_defined() ? elements<std::uint8_t>(kept.passed) : nullptr),
        channels(kept) {}
};

// What one thread reads for kCount channels of one row.
template <class T, int kCount, Relu kRelu>
struct BackwardRow {
  Wide<T, kCount> dy, x;
  unsigned bits;  // of the elements that the ReLU let pass

  BackwardRow() = default;
  __device__ BackwardRow(const BackwardInput<T>& in, std::int64_t offset, bool reads_x)
      : dy(load_wide<kCount>(in.dy + offset)) {
    if (reads_x) x = load_wide<kCount>(in.x + offset);
    if constexpr (kRelu == Relu::from_bits)
      bits = in.passed[offset / 8] >> (kCount == 8 ? 0 : offset % 8);
  }
  // dz of channel k.
  __device__ Compute<T> cut(const Affine<Compute<T>, kCount>& f, int k) const {
    bool is_passed = true;
    if constexpr (kRelu == Relu::from_x) is_passed = f(cuda::widen(x.at(k)), k) > 0;
    if constexpr (kRelu == Relu::from_bits) is_passed = bits >> k & 1;
    return is_passed ? cuda::widen(dy.at(k)) : Compute<T>(0);
  }
};

// dbeta = sum of dz, dgamma = invstd * sum of dz (x - mean), and dz itself unless null. Reads dy
// and x once, writes dz.
template <class T, int kCount, Relu kRelu, bool kStores>
__global__ void __launch_bounds__(kSumThreads, 1)
    batch_norm_backward_sums_kernel(BackwardInput<T> in, RowWalk walk, Two<Compute<T>>* parts,
                                    Compute<T>* dgamma, Compute<T>* dbeta, T* dz) {
  using C = Compute<T>;
  constexpr unsigned kRows = 4;
  const Place at = cuda::place_of<kCount>(walk);
  const Affine<C, kCount> f(in.channels, at.channel);
  Two<C> sums[kCount] = {};  // of dz, and of dz (x - mean)
  for (unsigned first = at.first; first < walk.rows; first += kRows * at.step) {
    BackwardRow<T, kCount, kRelu> rows[kRows];
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i)
      rows[i] = {in, walk.offset(walk.from_end(first + i * at.step)) + at.channel, true};
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i) {
      const unsigned row = first + i * at.step;
      Wide<T, kCount> out;
      for (int k = 0; k < kCount; ++k) {
        const C value = row < walk.rows ? rows[i].cut(f, k) : C(0);
        sums[k].x += value;
        sums[k].y = std::fma(value, cuda::widen(rows[i].x.at(k)) - f.mean[k], sums[k].y);
        if constexpr (kStores) out.at(k) = cuda::round_to<T>(value);
      }
      if constexpr (kStores)
        if (row < walk.rows)
          cuda::store_wide(dz + walk.offset(walk.from_end(row)) + at.channel, out);
    }
  }
  const Two<C> part = sum_over_lines(sums, walk.columns);
  const int width = walk.columns * kCount;
  const int channel = static_cast<int>(blockIdx.x) * width + static_cast<int>(threadIdx.x);
  const bool is_writer = channel < walk.channels && static_cast<int>(threadIdx.x) < width;
  if (is_writer) parts[std::int64_t{blockIdx.y} * walk.channels + channel] = part;
  if (!is_last_of_tile()) return;

  const Two<C> total = join_splits<C>(parts, walk.channels, width,
                                      [](Two<C> split_part, unsigned) { return split_part; });
  if (!is_writer) return;
  dbeta[channel] = total.x;
  dgamma[channel] = total.y * in.channels.invstd[channel];
}

// dx = scale dz - slope (x - mean) - offset with scale = gamma invstd, slope = scale invstd dgamma
// / rows and offset = scale dbeta / rows, or dx = scale dz where dgamma and dbeta are null. Reads
// dy once, and x where it matters; writes dx.
template <class T, int kCount, Relu kRelu>
__global__ void __launch_bounds__(kMapThreads, 3)
    batch_norm_backward_input_kernel(BackwardInput<T> in, RowWalk walk, const Compute<T>* dgamma,
                                     const Compute<T>* dbeta, T* dx) {
  using C = Compute<T>;
  constexpr unsigned kRows = kCount == 1 ? 4 : 32 / sizeof(Wide<T, kCount>);
  const Place at = cuda::place_of<kCount>(walk);
  const Affine<C, kCount> f(in.channels, at.channel);
  C slope[kCount] = {}, offset[kCount] = {};
  if (dgamma) {
    const C share = C(1) / walk.rows;
    for (int k = 0; k < kCount; ++k) {
      const C factor = f.scale[k] * share;
      slope[k] = factor * in.channels.invstd[at.channel + k] * dgamma[at.channel + k];
      offset[k] = factor * dbeta[at.channel + k];
    }
  }
  for (unsigned first = at.first; first < walk.rows; first += kRows * at.step) {
    BackwardRow<T, kCount, kRelu> rows[kRows];
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i)
      rows[i] = {in, walk.offset(walk.from_start(first + i * at.step)) + at.channel,
                 dgamma || kRelu == Relu::from_x};
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i) {
      const unsigned row = first + i * at.step;
      if (row >= walk.rows) break;
      Wide<T, kCount> out;
      for (int k = 0; k < kCount; ++k) {
        const C down = f.scale[k] * rows[i].cut(f, k) - offset[k];
        const C centred = dgamma ? cuda::widen(rows[i].x.at(k)) - f.mean[k] : C(0);
        out.at(k) = cuda::round_to<T>(std::fma(-slope[k], centred, down));
      }
      cuda::store_wide(dx + walk.offset(row) + at.channel, out);
    }
  }
}

// ---- launches

std::int64_t rows_of(const Tensor& x) { return x.dim(-1) == 0 ? 0 : x.numel() / x.dim(-1); }

// True if every row begins at a pack and consists of whole ones; double is for checks, not for
// speed.
bool is_wide(const Tensor& x, std::initializer_list<const void*> addresses) {
  return x.dtype() != DType::f64 && x.dim(-1) % kWideChannels == 0 && cuda::are_aligned(addresses);
}

// Calls f with the number of channels per thread as a constant.
template <class T, class F>
void choose_count(bool is_wide, const F& f) {
  if constexpr (!std::is_same_v<T, double>)
    if (is_wide) return f(std::integral_constant<int, kWideChannels>{});
  f(std::integral_constant<int, 1>{});
}
template <class F>
void choose(bool condition, const F& f) {
  condition ? f(std::true_type{}) : f(std::false_type{});
}
template <class F>
void choose_relu(const BatchNormKept& kept, const F& f) {
  if (!kept.has_relu)
    f(std::integral_constant<Relu, Relu::none>{});
  else if (kept.passed.is_defined())
    f(std::integral_constant<Relu, Relu::from_bits>{});
  else
    f(std::integral_constant<Relu, Relu::from_x>{});
}

// One block per multiprocessor, in the order of whose sums the result's last bit lies: runs on one
// GPU agree in every bit, GPUs of different size may not.
template <int kCount>
RowWalk walk_to_sum(const Tensor& x) {
  const auto blocks =
      std::min<unsigned>(static_cast<unsigned>(cuda::multiprocessors()), kMostSharedTiles);
  return cuda::walk_rows<kCount>(rows_of(x), x.dim(-1), kSumThreads, kSumColumns<kCount>, blocks);
}
template <int kCount>
RowWalk walk_to_map(const Tensor& x, int blocks_per_multiprocessor) {
  return cuda::walk_rows<kCount>(
      rows_of(x), x.dim(-1), kMapThreads, kMapColumns,
      static_cast<unsigned>(cuda::multiprocessors() * blocks_per_multiprocessor));
}
template <class C>
Two<C>* parts_of(const RowWalk& walk) {
  const std::int64_t count = std::int64_t{walk.splits} * walk.channels;
  return static_cast<Two<C>*>(cuda::workspace(count * static_cast<std::int64_t>(sizeof(Two<C>))));
}

template <class T>
Statistics<T> statistics_of(const Tensor& x, const BatchNormOptions& options, Tensor& mean,
                            Tensor& invstd, Tensor& running_mean, Tensor& running_var) {
  const auto rows = static_cast<double>(rows_of(x));
  const bool is_tracked = running_mean.is_defined();
  return {static_cast<T>(options.eps),
          static_cast<T>(options.momentum),
          static_cast<T>(1 - options.momentum),
          static_cast<T>(rows / (rows - 1)),
          elements<T>(mean),
          elements<T>(invstd),
          is_tracked ? elements<T>(running_mean) : nullptr,
          is_tracked ? elements<T>(running_var) : nullptr};
}
}  // namespace

void batch_statistics(Cuda, const Tensor& x, const BatchNormOptions& options, Tensor& mean,
                      Tensor& invstd, Tensor& running_mean, Tensor& running_var) {
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    using C = Compute<T>;
    choose_count<T>(is_wide(x, {x.raw()}), [&](auto count) {
      const RowWalk walk = walk_to_sum<count>(x);
      cuda::launch_kernel(batch_statistics_kernel<T, count>, walk.grid(), kSumThreads, 0,
                          elements<T>(x), walk, parts_of<C>(walk),
                          statistics_of<C>(x, options, mean, invstd, running_mean, running_var));
    });
  });
}

void running_statistics(Cuda, const Tensor& running_mean, const Tensor& running_var, double eps,
                        Tensor& mean, Tensor& invstd) {
  visit_float(running_mean.dtype(), [&](auto zero) {
    using C = decltype(zero);
    constexpr unsigned kThreads = 128;
    cuda::launch_kernel(running_statistics_kernel<C>, cuda::blocks_for(mean.numel(), kThreads),
                        kThreads, 0, elements<C>(running_mean), elements<C>(running_var),
                        static_cast<C>(eps), static_cast<int>(mean.numel()), elements<C>(mean),
                        elements<C>(invstd));
  });
}

void batch_norm(Cuda, const BatchNormKept& kept, const Tensor& residual, Tensor& y) {
  const Tensor& x = kept.x;
  Tensor passed = kept.passed;  // its memory is written, kept itself stays
  auto* bits = passed.is_defined() ? elements<std::uint8_t>(passed) : nullptr;
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Channels<Compute<T>> channels(kept);
    const T* added = residual.is_defined() ? elements<T>(residual) : nullptr;
    if constexpr (!std::is_same_v<T, double>)
      if (is_wide(x, {x.raw(), y.raw(), added})) {
        const RowWalk walk = walk_to_map<kWideChannels>(x, 4);
        choose(kept.has_relu, [&](auto has_relu) {
          choose(added, [&](auto has_residual) {
            cuda::launch_kernel(batch_norm_kernel<T, has_relu, has_residual>, walk.grid(),
                                kMapThreads, 0, elements<T>(x), channels, added, walk,
                                elements<T>(y), bits);
          });
        });
        return;
      }
    cuda::launch_kernel(batch_norm_flat_kernel<T>, cuda::blocks_for(x.numel(), kMapThreads * 8),
                        kMapThreads, 0, elements<T>(x), channels, added, kept.has_relu, x.numel(),
                        static_cast<int>(x.dim(-1)), elements<T>(y), bits);
  });
}

void batch_norm_backward_sums(Cuda, const Tensor& dy, const BatchNormKept& kept, Tensor& dgamma,
                              Tensor& dbeta, Tensor& dz) {
  cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    using C = Compute<T>;
    const BackwardInput<T> in(dy, kept);
    T* stored = dz.is_defined() ? elements<T>(dz) : nullptr;
    choose_count<T>(is_wide(dy, {in.dy, in.x, stored}), [&](auto count) {
      const RowWalk walk = walk_to_sum<count>(dy);
      choose_relu(kept, [&](auto relu) {
        choose(stored, [&](auto is_stored) {
          cuda::launch_kernel(batch_norm_backward_sums_kernel<T, count, relu, is_stored>,
                              walk.grid(), kSumThreads, 0, in, walk, parts_of<C>(walk),
                              elements<C>(dgamma), elements<C>(dbeta), stored);
        });
      });
    });
  });
}

void batch_norm_backward_input(Cuda, const Tensor& dy, const BatchNormKept& kept,
                               const Tensor& dgamma, const Tensor& dbeta, Tensor& dx) {
  cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    using C = Compute<T>;
    const BackwardInput<T> in(dy, kept);
    T* down = elements<T>(dx);
    choose_count<T>(is_wide(dy, {in.dy, in.x, down}), [&](auto count) {
      const RowWalk walk = walk_to_map<count>(dy, 3);
      choose_relu(kept, [&](auto relu) {
        cuda::launch_kernel(batch_norm_backward_input_kernel<T, count, relu>, walk.grid(),
                            kMapThreads, 0, in, walk,
                            dgamma.is_defined() ? elements<C>(dgamma) : nullptr,
                            dgamma.is_defined() ? elements<C>(dbeta) : nullptr, down);
      });
    });
  });
}

}  // namespace proxent::kernel
