// Pooling: the innermost loop is over the channels, which are contiguous. Backward gathers (every
// row of dx asks the windows over it), so that threads never write the same pixel.
#include "tensor/pooling.h"

#include <cmath>
#include <limits>

#include "tensor/parallel.h"
#include "tensor/window.h"

namespace proxent::kernel {
namespace {

struct Sizes {
  std::int64_t n, h, w, c, p, q, size, stride, padding;
  Sizes(const Shape& x, const Shape& y, const Pool2dOptions& options)
      : n(x[0]),
        h(x[1]),
        w(x[2]),
        c(x[3]),
        p(y[1]),
        q(y[2]),
        size(options.size),
        stride(options.stride),
        padding(options.padding) {}

  Taps rows(std::int64_t row) const { return {row, h, size, stride, padding}; }
  Taps columns(std::int64_t column) const { return {column, w, size, stride, padding}; }

  // Calls visit(output row, its tap r) for the windows over input row `row`, in order.
  template <class Visit>
  void windows_over(std::int64_t row, const Visit& visit) const {
    for (std::int64_t r = size - 1; r >= 0; --r) {
      const std::int64_t scaled = row + padding - r;
      if (scaled >= 0 && scaled % stride == 0 && scaled / stride < p) visit(scaled / stride, r);
    }
  }
};

// best and index take over x where it is larger, or not a number.
template <class T, class Index>
void keep_larger(const T* x, std::int64_t channels, Index number, T* best, Index* index) {
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) {
    const bool is_taken = (x[c] > best[c]) | (x[c] != x[c]);
    best[c] = is_taken ? x[c] : best[c];
    index[c] = is_taken ? number : index[c];
  }
}

template <class T>
void max_pool_window(const Sizes& z, const T* image, const Taps& rows, const Taps& columns, T* best,
                     std::uint8_t* index) {
  const auto number = [&](auto r, auto s) { return static_cast<std::uint8_t>(r * z.size + s); };
  std::fill_n(best, z.c, -std::numeric_limits<T>::infinity());
  std::fill_n(index, z.c, number(rows.first, columns.first));
  for (std::int64_t r = rows.first; r < rows.last; ++r)
    for (std::int64_t s = columns.first; s < columns.last; ++s)
      keep_larger(image + ((rows.origin + r) * z.w + columns.origin + s) * z.c, z.c, number(r, s),
                  best, index);
}

template <class T>
void sum_rows(const T* x, std::int64_t rows, std::int64_t channels, T* sum) {
  std::fill_n(sum, channels, T(0));
  for (std::int64_t row = 0; row < rows; ++row)
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) sum[c] += x[row * channels + c];
}

// Calls body(x's image, n, pixels, channels) for every image.
template <class T, class Body>
void for_each_image(const Tensor& x, const Body& body) {
  const std::int64_t pixels = x.dim(1) * x.dim(2), channels = x.dim(3);
  parallel_for(x.dim(0), 1, [&](std::int64_t n) {
    body(x.data<T>() + n * pixels * channels, n, pixels, channels);
  });
}

template <class T>
T clamped(T x) {
  return x < T(kGemEps) ? T(kGemEps) : x;
}

}  // namespace

void max_pool2d(Cpu, const Tensor& x, const Pool2dOptions& options, Tensor& y, Tensor& index) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Sizes z(x.shape(), y.shape(), options);
    parallel_for(z.n * z.p, 1, [&](std::int64_t item) {
      const Taps rows = z.rows(item % z.p);
      const T* image = x.data<T>() + item / z.p * z.h * z.w * z.c;
      for (std::int64_t q = 0; q < z.q; ++q) {
        const std::int64_t at = (item * z.q + q) * z.c;
        max_pool_window(z, image, rows, z.columns(q), y.data<T>() + at,
                        index.data<std::uint8_t>() + at);
      }
    });
  });
}

void max_pool2d_backward(Cpu, const Tensor& dy, const Tensor& index, const Pool2dOptions& options,
                         Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Sizes z(dx.shape(), dy.shape(), options);
    parallel_for(z.n * z.h, 1, [&](std::int64_t item) {
      T* row = dx.data<T>() + item * z.w * z.c;
      std::fill_n(row, z.w * z.c, T(0));
      z.windows_over(item % z.h, [&](std::int64_t p, std::int64_t r) {
        for (std::int64_t q = 0; q < z.q; ++q) {
          const std::int64_t at = ((item / z.h * z.p + p) * z.q + q) * z.c;
          const T* from = dy.data<T>() + at;
          const std::uint8_t* largest = index.data<std::uint8_t>() + at;
          const Taps columns = z.columns(q);
          for (std::int64_t s = columns.first; s < columns.last; ++s) {
            T* to = row + (columns.origin + s) * z.c;
            const auto number = static_cast<std::uint8_t>(r * z.size + s);
#pragma omp simd
            for (std::int64_t c = 0; c < z.c; ++c) to[c] += largest[c] == number ? from[c] : T(0);
          }
        }
      });
    });
  });
}

void avg_pool2d(Cpu, const Tensor& x, const Pool2dOptions& options, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Sizes z(x.shape(), y.shape(), options);
    const T share = T(1) / static_cast<T>(z.size * z.size);
    parallel_for(z.n * z.p, 1, [&](std::int64_t item) {
      const Taps rows = z.rows(item % z.p);
      const T* image = x.data<T>() + item / z.p * z.h * z.w * z.c;
      for (std::int64_t q = 0; q < z.q; ++q) {
        T* to = y.data<T>() + (item * z.q + q) * z.c;
        const Taps columns = z.columns(q);
        std::fill_n(to, z.c, T(0));
        for (std::int64_t r = rows.first; r < rows.last; ++r)
          for (std::int64_t s = columns.first; s < columns.last; ++s) {
            const T* from = image + ((rows.origin + r) * z.w + columns.origin + s) * z.c;
#pragma omp simd
            for (std::int64_t c = 0; c < z.c; ++c) to[c] += from[c];
          }
        for (std::int64_t c = 0; c < z.c; ++c) to[c] *= share;
      }
    });
  });
}

void avg_pool2d_backward(Cpu, const Tensor& dy, const Pool2dOptions& options, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Sizes z(dx.shape(), dy.shape(), options);
    const T share = T(1) / static_cast<T>(z.size * z.size);
    parallel_for(z.n * z.h, 1, [&](std::int64_t item) {
      T* row = dx.data<T>() + item * z.w * z.c;
      std::fill_n(row, z.w * z.c, T(0));
      z.windows_over(item % z.h, [&](std::int64_t p, std::int64_t) {
        for (std::int64_t q = 0; q < z.q; ++q) {
          const T* from = dy.data<T>() + ((item / z.h * z.p + p) * z.q + q) * z.c;
          const Taps columns = z.columns(q);
          for (std::int64_t s = columns.first; s < columns.last; ++s) {
            T* to = row + (columns.origin + s) * z.c;
#pragma omp simd
            for (std::int64_t c = 0; c < z.c; ++c) to[c] += share * from[c];
          }
        }
      });
    });
  });
}

void global_avg_pool(Cpu, const Tensor& x, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for_each_image<T>(x, [&](const T* image, auto n, auto pixels, auto channels) {
      T* mean = y.data<T>() + n * channels;
      sum_rows(image, pixels, channels, mean);
      for (std::int64_t c = 0; c < channels; ++c) mean[c] /= static_cast<T>(pixels);
    });
  });
}

void global_avg_pool_backward(Cpu, const Tensor& dy, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t pixels = dx.dim(1) * dx.dim(2), channels = dx.dim(3);
    parallel_for(dx.dim(0), 1, [&](std::int64_t n) {
      const T* from = dy.data<T>() + n * channels;
      T* to = dx.data<T>() + n * pixels * channels;
      for (std::int64_t c = 0; c < channels; ++c) to[c] = from[c] / static_cast<T>(pixels);
      for (std::int64_t i = 1; i < pixels; ++i) std::copy_n(to, channels, to + i * channels);
    });
  });
}

void global_max_pool(Cpu, const Tensor& x, Tensor& y, Tensor& index) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for_each_image<T>(x, [&](const T* image, auto n, auto pixels, auto channels) {
      T* best = y.data<T>() + n * channels;
      std::int32_t* where = index.data<std::int32_t>() + n * channels;
      std::copy_n(image, channels, best);
      std::fill_n(where, channels, 0);
      for (std::int64_t i = 1; i < pixels; ++i)
        keep_larger(image + i * channels, channels, static_cast<std::int32_t>(i), best, where);
    });
  });
}

void global_max_pool_backward(Cpu, const Tensor& dy, const Tensor& index, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t pixels = dx.dim(1) * dx.dim(2), channels = dx.dim(3);
    parallel_for(dx.dim(0), 1, [&](std::int64_t n) {
      const T* from = dy.data<T>() + n * channels;
      const std::int32_t* where = index.data<std::int32_t>() + n * channels;
      T* to = dx.data<T>() + n * pixels * channels;
      std::fill_n(to, pixels * channels, T(0));
      for (std::int64_t c = 0; c < channels; ++c) to[where[c] * channels + c] = from[c];
    });
  });
}

void gem_pool(Cpu, const Tensor& x, const Tensor& p, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T power = p.data<T>()[0];
    for_each_image<T>(x, [&](const T* image, auto n, auto pixels, auto channels) {
      for (std::int64_t c = 0; c < channels; ++c) {
        // Relative to the term that dominates, so that u^p neither overflows nor vanishes.
        T largest = -std::numeric_limits<T>::infinity(), sum = 0;
        for (std::int64_t i = 0; i < pixels; ++i)
          largest = std::max(largest, power * std::log(clamped(image[i * channels + c])));
        for (std::int64_t i = 0; i < pixels; ++i)
          sum += std::exp(power * std::log(clamped(image[i * channels + c])) - largest);
        y.data<T>()[n * channels + c] =
            std::exp((largest + std::log(sum / static_cast<T>(pixels))) / power);
      }
    });
  });
}

void gem_pool_dx(Cpu, const Tensor& dy, const Tensor& x, const Tensor& p, const Tensor& y,
                 Tensor& dx) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T power = p.data<T>()[0];
    for_each_image<T>(x, [&](const T* image, auto n, auto pixels, auto channels) {
      T* to = dx.data<T>() + n * pixels * channels;
      for (std::int64_t c = 0; c < channels; ++c) {
        const T mean = y.data<T>()[n * channels + c], log_mean = std::log(mean);
        const T factor = dy.data<T>()[n * channels + c] * mean / static_cast<T>(pixels);
        for (std::int64_t i = c; i < pixels * channels; i += channels) {
          const T u = clamped(image[i]);
          to[i] = image[i] < u ? T(0) : factor * std::exp(power * (std::log(u) - log_mean)) / u;
        }
      }
    });
  });
}

void gem_pool_dp(Cpu, const Tensor& dy, const Tensor& x, const Tensor& p, const Tensor& y,
                 Tensor& dp) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T power = p.data<T>()[0];
    Tensor parts(y.shape(), y.dtype());
    for_each_image<T>(x, [&](const T* image, auto n, auto pixels, auto channels) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const T mean = y.data<T>()[n * channels + c], log_mean = std::log(mean);
        T sum = 0;
        for (std::int64_t i = c; i < pixels * channels; i += channels) {
          const T log_u = std::log(clamped(image[i]));
          sum += std::exp(power * (log_u - log_mean)) * (log_u - log_mean);
        }
        parts.data<T>()[n * channels + c] =
            dy.data<T>()[n * channels + c] * mean * sum / (static_cast<T>(pixels) * power);
      }
    });
    T sum = 0;
    for (std::int64_t i = 0; i < parts.numel(); ++i) sum += parts.data<T>()[i];
    dp.data<T>()[0] = sum;
  });
}

}  // namespace proxent::kernel
