// Pooling over whole images: mean, largest, and generalised mean of each channel. A block has one
// image and a few of its channels: its threads share the channels and take turns over the pixels.
#include <cmath>
#include <limits>

#include "tensor/cuda/channel_rows.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"
#include "tensor/pooling.h"
#include "tensor/reduce.h"

namespace proxent::kernel {
namespace {
using cuda::Compute;
using cuda::elements;
using cuda::Two;
using cuda::Wide;

constexpr unsigned kThreads = 256;
constexpr int kMostColumns = 32;
template <int kCount>
constexpr int kMostWidth = kMostColumns* kCount;

struct Images {
  int pixels, channels, columns;  // columns: threads that share a pixel
  unsigned tiles, blocks;         // blocks per image, in all
};
template <int kCount>
Images images_of(const Shape& x) {
  const auto walk = cuda::walk_rows<kCount>(x[1] * x[2], x[3], kThreads, kMostColumns, 1);
  return {static_cast<int>(walk.rows), walk.channels, walk.columns, walk.tiles,
          cuda::blocks_for(x[0] * walk.tiles, 1)};
}

// Where a thread works: in the channels from `channel` on of the pixels line, line + lines and so
// on. A thread beside the last channel has no pixels; its channel is one that may be read.
struct Spot {
  std::int64_t image;
  int column, channel, line, lines;
};
template <int kCount>
__device__ Spot spot_of(const Images& z) {
  const unsigned image = blockIdx.x / z.tiles, tile = blockIdx.x - image * z.tiles;
  const int column = static_cast<int>(threadIdx.x) & (z.columns - 1);
  const int line = static_cast<int>(threadIdx.x) / z.columns;
  const int channel = (static_cast<int>(tile) * z.columns + column) * kCount;
  const int lines = static_cast<int>(kThreads) / z.columns;
  if (channel >= z.channels) return {image, column, 0, z.pixels, lines};
  return {image, column, channel, line, lines};
}
// The channel of the block's results that thread t has after reduce_lines, or none: -1.
__device__ int result_channel(const Images& z, int width) {
  const int channel =
      static_cast<int>(blockIdx.x % z.tiles) * width + static_cast<int>(threadIdx.x);
  return static_cast<int>(threadIdx.x) < width && channel < z.channels ? channel : -1;
}

// Calls f(k, value, pixel, whether there is such a pixel) for the thread's pixels and channels, a
// few pixels being on the way at a time.
template <class T, int kCount, class F>
__device__ void for_each_pixel(const T* x, const Images& z, const Spot& at, const F& f) {
  constexpr int kBatch = 4;
  x += at.image * z.pixels * z.channels + at.channel;
  for (int first = at.line; first < z.pixels; first += kBatch * at.lines) {
    Wide<T, kCount> in[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      in[i] = cuda::load_wide<kCount>(x + std::int64_t{min(first + i * at.lines, z.pixels - 1)} *
                                              z.channels);
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      for (int k = 0; k < kCount; ++k) {
        const int pixel = first + i * at.lines;
        f(k, cuda::widen(in[i].at(k)), pixel, pixel < z.pixels);
      }
  }
}
// Writes f(k, pixel) to the thread's pixels and channels.
template <class T, int kCount, class F>
__device__ void write_pixels(T* x, const Images& z, const Spot& at, const F& f) {
  x += at.image * z.pixels * z.channels + at.channel;
  for (int pixel = at.line; pixel < z.pixels; pixel += at.lines) {
    Wide<T, kCount> out;
    for (int k = 0; k < kCount; ++k) out.at(k) = cuda::round_to<T>(f(k, pixel));
    cuda::store_wide(x + std::int64_t{pixel} * z.channels, out);
  }
}

// y = mean. Reads x once.
template <class T, int kCount>
__global__ void global_avg_pool_kernel(const T* x, Images z, T* y) {
  using C = Compute<T>;
  const Spot at = spot_of<kCount>(z);
  C sum[kCount] = {};
  for_each_pixel<T, kCount>(
      x, z, at, [&](int k, C value, int, bool is_pixel) { sum[k] += is_pixel ? value : C(0); });
  const C total = cuda::reduce_lines<kThreads, kMostWidth<kCount>>(sum, z.columns, cuda::Plus{});
  const int channel = result_channel(z, z.columns * kCount);
  if (channel >= 0)
    y[at.image * z.channels + channel] = cuda::round_to<T>(total / static_cast<C>(z.pixels));
}

// dx = dy / pixels. Writes dx.
template <class T, int kCount>
__global__ void global_avg_pool_backward_kernel(const T* dy, Images z, T* dx) {
  using C = Compute<T>;
  const Spot at = spot_of<kCount>(z);
  C share[kCount];
  for (int k = 0; k < kCount; ++k)
    share[k] = cuda::widen(dy[at.image * z.channels + at.channel + k]) / static_cast<C>(z.pixels);
  write_pixels<T, kCount>(dx, z, at, [&](int k, int) { return share[k]; });
}

// A value and its pixel.
template <class C>
struct Candidate {
  C value;
  int pixel;
};
template <class C>
__device__ Candidate<C> shuffle_xor(Candidate<C> candidate, int bits) {
  return {cuda::shuffle_xor(candidate.value, bits), cuda::shuffle_xor(candidate.pixel, bits)};
}
// The last NaN if there is one, else the first of the largest; no pixel, -1, loses to every other.
struct Leading {
  template <class C>
  __device__ Candidate<C> operator()(Candidate<C> a, Candidate<C> b) const {
    if (a.pixel < 0 || b.pixel < 0) return a.pixel < 0 ? b : a;
    const bool a_is_nan = a.value != a.value, b_is_nan = b.value != b.value;
    if (a_is_nan && b_is_nan) return a.pixel > b.pixel ? a : b;
    if (a_is_nan || b_is_nan) return a_is_nan ? a : b;
    if (a.value != b.value) return a.value > b.value ? a : b;
    return a.pixel < b.pixel ? a : b;
  }
};

// y = largest, index = its pixel. Reads x once.
template <class T, int kCount>
__global__ void global_max_pool_kernel(const T* x, Images z, T* y, std::int32_t* index) {
  using C = Compute<T>;
  const Spot at = spot_of<kCount>(z);
  Candidate<C> best[kCount];
  for (int k = 0; k < kCount; ++k) best[k] = {C(0), -1};
  for_each_pixel<T, kCount>(x, z, at, [&](int k, C value, int pixel, bool is_pixel) {
    // A thread's pixels come in order, so ties need no look at the numbers.
    const bool is_taken =
        is_pixel & ((best[k].pixel < 0) | (value > best[k].value) | (value != value));
    best[k].value = is_taken ? value : best[k].value;
    best[k].pixel = is_taken ? pixel : best[k].pixel;
  });
  const auto largest = cuda::reduce_lines<kThreads, kMostWidth<kCount>>(best, z.columns, Leading{});
  const int channel = result_channel(z, z.columns * kCount);
  if (channel < 0) return;
  y[at.image * z.channels + channel] = cuda::round_to<T>(largest.value);
  index[at.image * z.channels + channel] = largest.pixel;
}

// dx = dy at the largest, 0 elsewhere. Writes dx.
template <class T, int kCount>
__global__ void global_max_pool_backward_kernel(const T* dy, const std::int32_t* index, Images z,
                                                T* dx) {
  using C = Compute<T>;
  const Spot at = spot_of<kCount>(z);
  C value[kCount];
  int largest[kCount];
  for (int k = 0; k < kCount; ++k) {
    value[k] = cuda::widen(dy[at.image * z.channels + at.channel + k]);
    largest[k] = index[at.image * z.channels + at.channel + k];
  }
  write_pixels<T, kCount>(dx, z, at,
                          [&](int k, int pixel) { return pixel == largest[k] ? value[k] : C(0); });
}

// ---- GeM

template <class C>
__device__ C clamped(C x) {
  return x < C(kGemEps) ? C(kGemEps) : x;  // NaN stays NaN
}

// The smallest and the largest, NaN passed over.
struct Range {
  template <class V>
  __device__ V operator()(V a, V b) const {
    return {min(a.x, b.x), max(a.y, b.y)};
  }
};

// y = (mean of u^p)^(1/p), relative to the term that dominates, so that u^p neither overflows nor
// vanishes: that of the largest u, or of the smallest if p is negative. Reads x twice, the second
// time from the cache.
template <class T, int kCount>
__global__ void gem_pool_kernel(const T* x, const Compute<T>* p, Images z, T* y) {
  using C = Compute<T>;
  const C power = *p;
  const Spot at = spot_of<kCount>(z);
  Two<C> range[kCount];
  for (int k = 0; k < kCount; ++k)
    range[k] = {std::numeric_limits<C>::infinity(), -std::numeric_limits<C>::infinity()};
  for_each_pixel<T, kCount>(x, z, at, [&](int k, C value, int, bool is_pixel) {
    const C u = is_pixel ? clamped(value) : range[k].x;
    range[k].x = min(range[k].x, u);
    range[k].y = max(range[k].y, is_pixel ? u : range[k].y);
  });
  const Two<C> ends = cuda::reduce_lines<kThreads, kMostWidth<kCount>>(range, z.columns, Range{});
  __shared__ C shift[kMostWidth<kCount>];
  const C largest = max(power * std::log(ends.x), power * std::log(ends.y));
  if (static_cast<int>(threadIdx.x) < z.columns * kCount) shift[threadIdx.x] = largest;
  __syncthreads();
  C sum[kCount] = {};
  for_each_pixel<T, kCount>(x, z, at, [&](int k, C value, int, bool is_pixel) {
    const C term = std::exp(power * std::log(clamped(value)) - shift[at.column * kCount + k]);
    sum[k] += is_pixel ? term : C(0);
  });
  const C total = cuda::reduce_lines<kThreads, kMostWidth<kCount>>(sum, z.columns, cuda::Plus{});
  const int channel = result_channel(z, z.columns * kCount);
  if (channel < 0) return;
  const C log_mean = (largest + std::log(total / static_cast<C>(z.pixels))) / power;
  y[at.image * z.channels + channel] = cuda::round_to<T>(std::exp(log_mean));
}

// dx = dy y / pixels (u / y)^p / u, 0 where x was clamped. Reads x once, writes dx.
template <class T, int kCount>
__global__ void gem_pool_dx_kernel(const T* dy, const T* x, const Compute<T>* p, const T* y,
                                   Images z, T* dx) {
  using C = Compute<T>;
  const C power = *p;
  const Spot at = spot_of<kCount>(z);
  C factor[kCount], log_mean[kCount];
  for (int k = 0; k < kCount; ++k) {
    const std::int64_t i = at.image * z.channels + at.channel + k;
    log_mean[k] = std::log(cuda::widen(y[i]));
    factor[k] = cuda::widen(dy[i]) * cuda::widen(y[i]) / static_cast<C>(z.pixels);
  }
  const std::int64_t image = at.image * z.pixels * z.channels + at.channel;
  for (int pixel = at.line; pixel < z.pixels; pixel += at.lines) {
    const std::int64_t offset = image + std::int64_t{pixel} * z.channels;
    auto in = cuda::load_wide<kCount>(x + offset);
    for (int k = 0; k < kCount; ++k) {
      const C value = cuda::widen(in.at(k)), u = clamped(value);
      const C slope = factor[k] * std::exp(power * (std::log(u) - log_mean[k])) / u;
      in.at(k) = cuda::round_to<T>(value < u ? C(0) : slope);
    }
    cuda::store_wide(dx + offset, in);
  }
}

// parts (N, C) = dy y / (pixels p) * sum of (u / y)^p log(u / y), whose sum is dp. Reads x once.
template <class T, int kCount>
__global__ void gem_pool_dp_kernel(const T* dy, const T* x, const Compute<T>* p, const T* y,
                                   Images z, Compute<T>* parts) {
  using C = Compute<T>;
  const C power = *p;
  const Spot at = spot_of<kCount>(z);
  C log_mean[kCount], sum[kCount] = {};
  for (int k = 0; k < kCount; ++k)
    log_mean[k] = std::log(cuda::widen(y[at.image * z.channels + at.channel + k]));
  for_each_pixel<T, kCount>(x, z, at, [&](int k, C value, int, bool is_pixel) {
    const C ratio = std::log(clamped(value)) - log_mean[k];
    const C term = std::exp(power * ratio) * ratio;
    sum[k] += is_pixel ? term : C(0);
  });
  const C total = cuda::reduce_lines<kThreads, kMostWidth<kCount>>(sum, z.columns, cuda::Plus{});
  const int channel = result_channel(z, z.columns * kCount);
  if (channel < 0) return;
  const std::int64_t i = at.image * z.channels + channel;
  parts[i] = cuda::widen(dy[i]) * cuda::widen(y[i]) * total / (static_cast<C>(z.pixels) * power);
}

// Calls f with the channels per thread, as a constant, and the images; `addresses`: of the tensors
// of that shape.
template <class T, class F>
void over_images(const Shape& shape, std::initializer_list<const void*> addresses, const F& f) {
  cuda::choose_pack<T>(shape[3], addresses, [&](auto count) { f(count, images_of<count>(shape)); });
}
}  // namespace

void global_avg_pool(Cuda, const Tensor& x, Tensor& y) {
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    over_images<T>(x.shape(), {x.raw()}, [&](auto count, const Images& z) {
      cuda::launch_kernel(global_avg_pool_kernel<T, count>, z.blocks, kThreads, 0, elements<T>(x),
                          z, elements<T>(y));
    });
  });
}

void global_avg_pool_backward(Cuda, const Tensor& dy, Tensor& dx) {
  cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    over_images<T>(dx.shape(), {dx.raw()}, [&](auto count, const Images& z) {
      cuda::launch_kernel(global_avg_pool_backward_kernel<T, count>, z.blocks, kThreads, 0,
                          elements<T>(dy), z, elements<T>(dx));
    });
  });
}

void global_max_pool(Cuda, const Tensor& x, Tensor& y, Tensor& index) {
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    over_images<T>(x.shape(), {x.raw()}, [&](auto count, const Images& z) {
      cuda::launch_kernel(global_max_pool_kernel<T, count>, z.blocks, kThreads, 0, elements<T>(x),
                          z, elements<T>(y), elements<std::int32_t>(index));
    });
  });
}

void global_max_pool_backward(Cuda, const Tensor& dy, const Tensor& index, Tensor& dx) {
  cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    over_images<T>(dx.shape(), {dx.raw()}, [&](auto count, const Images& z) {
      cuda::launch_kernel(global_max_pool_backward_kernel<T, count>, z.blocks, kThreads, 0,
                          elements<T>(dy), elements<std::int32_t>(index), z, elements<T>(dx));
    });
  });
}

void gem_pool(Cuda, const Tensor& x, const Tensor& p, Tensor& y) {
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    over_images<T>(x.shape(), {x.raw()}, [&](auto count, const Images& z) {
      cuda::launch_kernel(gem_pool_kernel<T, count>, z.blocks, kThreads, 0, elements<T>(x),
                          elements<Compute<T>>(p), z, elements<T>(y));
    });
  });
}

void gem_pool_dx(Cuda, const Tensor& dy, const Tensor& x, const Tensor& p, const Tensor& y,
                 Tensor& dx) {
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    over_images<T>(x.shape(), {x.raw(), dx.raw()}, [&](auto count, const Images& z) {
      cuda::launch_kernel(gem_pool_dx_kernel<T, count>, z.blocks, kThreads, 0, elements<T>(dy),
                          elements<T>(x), elements<Compute<T>>(p), elements<T>(y), z,
                          elements<T>(dx));
    });
  });
}

void gem_pool_dp(Cuda, const Tensor& dy, const Tensor& x, const Tensor& p, const Tensor& y,
                 Tensor& dp) {
  Tensor parts({y.numel()}, dp.dtype(), Device::cuda);
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    over_images<T>(x.shape(), {x.raw()}, [&](auto count, const Images& z) {
      cuda::launch_kernel(gem_pool_dp_kernel<T, count>, z.blocks, kThreads, 0, elements<T>(dy),
                          elements<T>(x), elements<Compute<T>>(p), elements<T>(y), z,
                          elements<Compute<T>>(parts));
    });
  });
  sum_to(Cuda{}, parts, dp);
}

}  // namespace proxent::kernel
