// Pooling over windows. One thread per pixel that is written and pack of channels: neighbouring
// threads take neighbouring channels, then neighbouring pixels of one row, so that windows that
// overlap meet in the cache. Backward gathers: no two threads write the same pixel.
#include "tensor/pooling.h"

#include <limits>

#include "tensor/cuda/channel_rows.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::Compute;
using cuda::elements;
using cuda::load_wide;
using cuda::Wide;

struct Sizes {
  int h, w, channels, p, q, size, stride, padding;
  Sizes(const Shape& x, const Shape& y, const Pool2dOptions& options)
      : h(static_cast<int>(x[1])),
        w(static_cast<int>(x[2])),
        channels(static_cast<int>(x[3])),
        p(static_cast<int>(y[1])),
        q(static_cast<int>(y[2])),
        size(static_cast<int>(options.size)),
        stride(static_cast<int>(options.stride)),
        padding(static_cast<int>(options.padding)) {}
  __device__ bool has_pixel(int row, int column) const {
    return static_cast<unsigned>(row) < static_cast<unsigned>(h) &&
           static_cast<unsigned>(column) < static_cast<unsigned>(w);
  }
};

// Along x of the grid lie the rows of all images, along y the blocks that share one.
struct Grid {
  unsigned threads;
  dim3 blocks;
};
template <int kCount>
Grid grid_over(const Shape& image) {
  constexpr std::int64_t kMostThreads = 256;
  const std::int64_t items = image[2] * (image[3] / kCount);
  const unsigned per_row = cuda::blocks_for(items, kMostThreads);
  // As many threads as the row needs, spread evenly over its blocks.
  const std::int64_t threads = per_row == 0 ? 32 : (items + per_row - 1) / per_row;
  return {static_cast<unsigned>((threads + 31) / 32 * 32),
          dim3(cuda::blocks_for(image[0] * image[1], 1), per_row)};
}

// What a thread writes: pixel (row, column) of an image, from a channel on.
struct Spot {
  std::int64_t image;
  int row, column, channel;
  bool is_inside;
};
template <int kCount>
__device__ Spot spot_of(int rows, int columns, int channels) {
  const unsigned item = blockIdx.y * blockDim.x + threadIdx.x;
  const auto packs = static_cast<unsigned>(channels / kCount);
  const unsigned image = blockIdx.x / static_cast<unsigned>(rows), column = item / packs;
  return {image, static_cast<int>(blockIdx.x - image * static_cast<unsigned>(rows)),
          static_cast<int>(column), static_cast<int>(item - column * packs) * kCount,
          column < static_cast<unsigned>(columns)};
}
// Where pixel (row, column) of an image begins, or the nearest one that there is.
__device__ std::int64_t pixel_offset(std::int64_t image, int row, int column, int rows, int columns,
                                     int channels) {
  row = min(max(row, 0), rows - 1);
  column = min(max(column, 0), columns - 1);
  return ((image * rows + row) * columns + column) * channels;
}

// The largest of a window so far, per channel, and its tap's number.
template <class T, int kCount>
struct Largest {
  Compute<T> value[kCount];
  int tap[kCount];

  __device__ explicit Largest(int first_tap) {
    for (int k = 0; k < kCount; ++k) {
      value[k] = -std::numeric_limits<Compute<T>>::infinity();
      tap[k] = first_tap;
    }
  }
  __device__ void take(const Wide<T, kCount>& in, int number, bool is_tap) {
    for (int k = 0; k < kCount; ++k) {
      const Compute<T> x = cuda::widen(in.at(k));
      const bool is_taken = is_tap & ((x > value[k]) | (x != x));
      value[k] = is_taken ? x : value[k];
      tap[k] = is_taken ? number : tap[k];
    }
  }
};

// y = largest of each window, index = its tap. kSize: the window's, or 0 to read it from z. Reads x
// once from memory, and once or twice more from the cache where windows overlap.
template <class T, int kCount, int kSize>
__global__ void max_pool2d_kernel(const T* x, Sizes z, T* y, std::uint8_t* index) {
  const Spot at = spot_of<kCount>(z.p, z.q, z.channels);
  if (!at.is_inside) return;
  const int size = kSize ? kSize : z.size;
  const int top = at.row * z.stride - z.padding, left = at.column * z.stride - z.padding;
  Largest<T, kCount> largest(max(0, -top) * size + max(0, -left));
  constexpr int kBatch = kSize ? kSize : 1;
#pragma unroll kBatch
  for (int r = 0; r < size; ++r)
    for (int first = 0; first < size; first += kBatch) {
      // Taps beside the image read a pixel at its edge, so that no load waits for a comparison.
      Wide<T, kCount> in[kBatch];
      for (int i = 0; i < kBatch; ++i)
        in[i] = load_wide<kCount>(
            x + pixel_offset(at.image, top + r, left + first + i, z.h, z.w, z.channels) +
            at.channel);
      for (int i = 0; i < kBatch; ++i) {
        const int s = first + i;
        const bool is_tap = z.has_pixel(top + r, left + s);
        largest.take(in[i], r * size + s, is_tap);
      }
    }
  Wide<T, kCount> out;
  Wide<std::uint8_t, kCount> taps;
  for (int k = 0; k < kCount; ++k) {
    out.at(k) = cuda::round_to<T>(largest.value[k]);
    taps.at(k) = static_cast<std::uint8_t>(largest.tap[k]);
  }
  const std::int64_t offset =
      pixel_offset(at.image, at.row, at.column, z.p, z.q, z.channels) + at.channel;
  cuda::store_wide(y + offset, out);
  cuda::store_wide(index + offset, taps);
}

// The windows over one coordinate: window number last - j for j = 0, 1, ..., with tap first + j *
// stride, as far as there are such.
struct Windows {
  int last, tap;
  __device__ Windows(int coordinate, const Sizes& z)
      : last((coordinate + z.padding) / z.stride), tap((coordinate + z.padding) % z.stride) {}
  __device__ int number(int j) const { return last - j; }
  __device__ int tap_in(int j, const Sizes& z) const { return tap + j * z.stride; }
  __device__ bool has(int j, const Sizes& z, int count) const {
    return tap_in(j, z) < z.size && number(j) >= 0 && number(j) < count;
  }
};

// dx = sum of f(offset of a window's pixel, its tap) over the windows over this pixel, in their
// order. kWindows: at most so many along each side, or 0 to find out.
template <class T, int kCount, int kWindows, class F>
__device__ void sum_windows(const Sizes& z, const Spot& at, T* dx, const F& f) {
  Compute<T> sum[kCount] = {};
  const Windows rows(at.row, z), columns(at.column, z);
  const int most = kWindows ? kWindows : (z.size + z.stride - 1) / z.stride;
#pragma unroll(kWindows ? kWindows : 1)
  for (int i = most - 1; i >= 0; --i)
#pragma unroll(kWindows ? kWindows : 1)
    for (int j = most - 1; j >= 0; --j) {
      const bool is_window = rows.has(i, z, z.p) && columns.has(j, z, z.q);
      const std::int64_t offset =
          pixel_offset(at.image, rows.number(i), columns.number(j), z.p, z.q, z.channels);
      f(sum, offset + at.channel, rows.tap_in(i, z) * z.size + columns.tap_in(j, z), is_window);
    }
  Wide<T, kCount> out;
  for (int k = 0; k < kCount; ++k) out.at(k) = cuda::round_to<T>(sum[k]);
  cuda::store_wide(
      dx + pixel_offset(at.image, at.row, at.column, z.h, z.w, z.channels) + at.channel, out);
}

// dx = sum of the dy of the windows in which this pixel was the largest. Reads dy and index once
// from memory, writes dx.
template <class T, int kCount, int kWindows>
__global__ void max_pool2d_backward_kernel(const T* dy, const std::uint8_t* index, Sizes z, T* dx) {
  const Spot at = spot_of<kCount>(z.h, z.w, z.channels);
  if (!at.is_inside) return;
  sum_windows<T, kCount, kWindows>(
      z, at, dx, [&](auto& sum, std::int64_t offset, int tap, bool is_window) {
        const auto from = load_wide<kCount>(dy + offset);
        const auto largest = load_wide<kCount>(index + offset);
        for (int k = 0; k < kCount; ++k)
          sum[k] += is_window && largest.at(k) == tap ? cuda::widen(from.at(k)) : Compute<T>(0);
      });
}

// y = sum of the window's pixels inside the image / size^2.
template <class T, int kCount>
__global__ void avg_pool2d_kernel(const T* x, Sizes z, T* y) {
  using C = Compute<T>;
  const Spot at = spot_of<kCount>(z.p, z.q, z.channels);
  if (!at.is_inside) return;
  const int top = at.row * z.stride - z.padding, left = at.column * z.stride - z.padding;
  C sum[kCount] = {};
  for (int r = max(top, 0); r < min(top + z.size, z.h); ++r)
    for (int s = max(left, 0); s < min(left + z.size, z.w); ++s) {
      const auto in =
          load_wide<kCount>(x + pixel_offset(at.image, r, s, z.h, z.w, z.channels) + at.channel);
      for (int k = 0; k < kCount; ++k) sum[k] += cuda::widen(in.at(k));
    }
  const C share = C(1) / static_cast<C>(z.size * z.size);
  Wide<T, kCount> out;
  for (int k = 0; k < kCount; ++k) out.at(k) = cuda::round_to<T>(sum[k] * share);
  cuda::store_wide(y + pixel_offset(at.image, at.row, at.column, z.p, z.q, z.channels) + at.channel,
                   out);
}

// dx = sum of dy / size^2 over the windows over this pixel.
template <class T, int kCount, int kWindows>
__global__ void avg_pool2d_backward_kernel(const T* dy, Sizes z, T* dx) {
  using C = Compute<T>;
  const Spot at = spot_of<kCount>(z.h, z.w, z.channels);
  if (!at.is_inside) return;
  const C share = C(1) / static_cast<C>(z.size * z.size);
  sum_windows<T, kCount, kWindows>(z, at, dx,
                                   [&](auto& sum, std::int64_t offset, int, bool is_window) {
                                     const auto from = load_wide<kCount>(dy + offset);
                                     for (int k = 0; k < kCount; ++k)
                                       sum[k] += is_window ? share * cuda::widen(from.at(k)) : C(0);
                                   });
}

// The windows that networks have: 3x3 with stride 2, 2x2 with stride 2.
template <class F>
void choose_size(const Pool2dOptions& options, const F& f) {
  if (options.size == 3) return f(std::integral_constant<int, 3>{});
  if (options.size == 2) return f(std::integral_constant<int, 2>{});
  f(std::integral_constant<int, 0>{});
}
template <class F>
void choose_windows(const Pool2dOptions& options, const F& f) {
  if (options.size <= options.stride) return f(std::integral_constant<int, 1>{});
  if (options.size <= 2 * options.stride) return f(std::integral_constant<int, 2>{});
  f(std::integral_constant<int, 0>{});
}
}  // namespace

void max_pool2d(Cuda, const Tensor& x, const Pool2dOptions& options, Tensor& y, Tensor& index) {
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::choose_pack<T>(x.dim(3), {x.raw(), y.raw(), index.raw()}, [&](auto count) {
      choose_size(options, [&](auto size) {
        const Grid grid = grid_over<count>(y.shape());
        cuda::launch_kernel(max_pool2d_kernel<T, count, size>, grid.blocks, grid.threads, 0,
                            elements<T>(x), Sizes(x.shape(), y.shape(), options), elements<T>(y),
                            elements<std::uint8_t>(index));
      });
    });
  });
}

void max_pool2d_backward(Cuda, const Tensor& dy, const Tensor& index, const Pool2dOptions& options,
                         Tensor& dx) {
  cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::choose_pack<T>(dx.dim(3), {dy.raw(), index.raw(), dx.raw()}, [&](auto count) {
      choose_windows(options, [&](auto windows) {
        const Grid grid = grid_over<count>(dx.shape());
        cuda::launch_kernel(max_pool2d_backward_kernel<T, count, windows>, grid.blocks,
                            grid.threads, 0, elements<T>(dy), elements<std::uint8_t>(index),
                            Sizes(dx.shape(), dy.shape(), options), elements<T>(dx));
      });
    });
  });
}

void avg_pool2d(Cuda, const Tensor& x, const Pool2dOptions& options, Tensor& y) {
  cuda::visit_gpu_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::choose_pack<T>(x.dim(3), {x.raw(), y.raw()}, [&](auto count) {
      const Grid grid = grid_over<count>(y.shape());
      cuda::launch_kernel(avg_pool2d_kernel<T, count>, grid.blocks, grid.threads, 0, elements<T>(x),
                          Sizes(x.shape(), y.shape(), options), elements<T>(y));
    });
  });
}

void avg_pool2d_backward(Cuda, const Tensor& dy, const Pool2dOptions& options, Tensor& dx) {
  cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::choose_pack<T>(dx.dim(3), {dy.raw(), dx.raw()}, [&](auto count) {
      choose_windows(options, [&](auto windows) {
        const Grid grid = grid_over<count>(dx.shape());
        cuda::launch_kernel(avg_pool2d_backward_kernel<T, count, windows>, grid.blocks,
                            grid.threads, 0, elements<T>(dy),
                            Sizes(dx.shape(), dy.shape(), options), elements<T>(dx));
      });
    });
  });
}

}  // namespace proxent::kernel
