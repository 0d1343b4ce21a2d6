// Batch normalisation by chunks of rows. Each chunk is small enough to stay in the cache while it
// is read twice (mean, then squared deviations from it), so that the variance has no cancellation;
// chunks are joined in a fixed order, so that results do not depend on the number of threads.
#include "tensor/batch_norm.h"

#include <cmath>

#include "tensor/cpu/parallel.h"

namespace proxent::kernel {
namespace {

struct Chunks {
  std::int64_t channels, rows, length, count;  // length: rows per chunk, but the last
  explicit Chunks(const Tensor& x)
      : channels(x.dim(-1)),
        rows(x.dim(-1) == 0 ? 0 : x.numel() / x.dim(-1)),
        length(std::max<std::int64_t>(kElements / (channels + 1), kLeastRows)),
        count((rows + length - 1) / length) {}

  // Calls body(chunk, first row, number of rows).
  template <class Body>
  void for_each(const Body& body) const {
    parallel_for(count, 1, [&](std::int64_t chunk) {
      body(chunk, chunk * length, std::min(length, rows - chunk * length));
    });
  }

  static constexpr std::int64_t kElements = 1 << 15;  // 128 KiB of f32
  static constexpr std::int64_t kLeastRows = 16;      // keeps partial results small beside x
};

// Two rows of partial results for every chunk.
template <class T>
class Partials {
 public:
  explicit Partials(const Chunks& chunks)
      : channels_(chunks.channels), memory_({chunks.count, 2, chunks.channels}, kDType<T>) {}
  T* first(std::int64_t chunk) { return memory_.data<T>() + chunk * 2 * channels_; }
  T* second(std::int64_t chunk) { return first(chunk) + channels_; }

 private:
  std::int64_t channels_;
  Tensor memory_;
};

template <class T>
void statistics_of_chunk(const T* x, std::int64_t rows, std::int64_t channels, T* mean,
                         T* squares) {
  std::fill_n(mean, channels, T(0));
  std::fill_n(squares, channels, T(0));
  for (std::int64_t row = 0; row < rows; ++row)
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) mean[c] += x[row * channels + c];
  for (std::int64_t c = 0; c < channels; ++c) mean[c] /= static_cast<T>(rows);
  for (std::int64_t row = 0; row < rows; ++row)
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) {
      const T deviation = x[row * channels + c] - mean[c];
      squares[c] += deviation * deviation;
    }
}

// dz of one element: dy, cut by the ReLU if there was one.
template <bool kHasRelu, class T>
T cut(T dy, [[maybe_unused]] const T* y, [[maybe_unused]] std::int64_t i) {
  if constexpr (kHasRelu) return y[i] > T(0) ? dy : T(0);
  return dy;
}

// Calls f with std::true_type or std::false_type.
template <class F>
void choose(bool condition, const F& f) {
  condition ? f(std::true_type{}) : f(std::false_type{});
}

template <class T>
const T* data_or_null(const Tensor& x) {
  return x.is_defined() ? x.data<T>() : nullptr;
}

}  // namespace

void channel_statistics(Cpu, const Tensor& x, Tensor& mean, Tensor& variance) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Chunks chunks(x);
    Partials<T> partials(chunks);
    const T* in = x.data<T>();
    chunks.for_each([&](auto chunk, auto first, auto rows) {
      statistics_of_chunk(in + first * chunks.channels, rows, chunks.channels,
                          partials.first(chunk), partials.second(chunk));
    });
    // Chan, Golub and LeVeque: deviations within the chunks plus those of the chunks' means.
    for (std::int64_t c = 0; c < chunks.channels; ++c) {
      double sum = 0, squares = 0;
      const auto rows_in = [&](std::int64_t chunk) {
        return static_cast<double>(std::min(chunks.length, chunks.rows - chunk * chunks.length));
      };
      for (std::int64_t i = 0; i < chunks.count; ++i) sum += partials.first(i)[c] * rows_in(i);
      const double total_mean = sum / static_cast<double>(chunks.rows);
      for (std::int64_t i = 0; i < chunks.count; ++i) {
        const double offset = partials.first(i)[c] - total_mean;
        squares += partials.second(i)[c] + rows_in(i) * offset * offset;
      }
      mean.data<T>()[c] = static_cast<T>(total_mean);
      variance.data<T>()[c] = static_cast<T>(squares / static_cast<double>(chunks.rows));
    }
  });
}

void inverse_deviation(Cpu, const Tensor& variance, double eps, Tensor& invstd) {
  visit_float(variance.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t c = 0; c < variance.numel(); ++c)
      invstd.data<T>()[c] = T(1) / std::sqrt(variance.data<T>()[c] + static_cast<T>(eps));
  });
}

void update_running_statistics(Cpu, const Tensor& mean, const Tensor& variance, std::int64_t rows,
                               double momentum, Tensor& running_mean, Tensor& running_var) {
  visit_float(mean.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const double unbiased = static_cast<double>(rows) / static_cast<double>(rows - 1);
    const auto move = [&](T& running, double batch) {
      running = static_cast<T>((1 - momentum) * running + momentum * batch);
    };
    for (std::int64_t c = 0; c < mean.numel(); ++c) {
      move(running_mean.data<T>()[c], mean.data<T>()[c]);
      move(running_var.data<T>()[c], variance.data<T>()[c] * unbiased);
    }
  });
}

void batch_norm(Cpu, const Tensor& x, const Tensor& mean, const Tensor& invstd, const Tensor& gamma,
                const Tensor& beta, const Tensor& residual, bool has_relu, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Chunks chunks(x);
    Tensor scales(gamma.shape(), gamma.dtype());
    T* scale = scales.data<T>();
    for (std::int64_t c = 0; c < chunks.channels; ++c)
      scale[c] = gamma.data<T>()[c] * invstd.data<T>()[c];
    const T *in = x.data<T>(), *center = mean.data<T>(), *shift = beta.data<T>();
    const T* added = data_or_null<T>(residual);
    T* out = y.data<T>();
    choose(has_relu, [&](auto is_cut) {
      choose(residual.is_defined(), [&](auto is_added) {
        chunks.for_each([&](auto, auto first, auto rows) {
          for (std::int64_t row = first; row < first + rows; ++row)
#pragma omp simd
            for (std::int64_t c = 0; c < chunks.channels; ++c) {
              const std::int64_t i = row * chunks.channels + c;
              T value = (in[i] - center[c]) * scale[c] + shift[c];
              if constexpr (is_added) value += added[i];
              if constexpr (is_cut) value = value < T(0) ? T(0) : value;  // NaN stays NaN
              out[i] = value;
            }
        });
      });
    });
  });
}

void batch_norm_backward_sums(Cpu, const Tensor& dy, const Tensor& y, const Tensor& x,
                              const Tensor& mean, const Tensor& invstd, Tensor& dgamma,
                              Tensor& dbeta, Tensor& dz) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Chunks chunks(x);
    Partials<T> partials(chunks);
    const T *in = x.data<T>(), *upper = dy.data<T>(), *center = mean.data<T>();
    const T* out = data_or_null<T>(y);
    T* stored = dz.is_defined() ? dz.data<T>() : nullptr;
    choose(y.is_defined(), [&](auto is_cut) {
      choose(dz.is_defined(), [&](auto is_stored) {
        chunks.for_each([&](auto chunk, auto first, auto rows) {
          T *sum = partials.first(chunk), *product = partials.second(chunk);
          std::fill_n(sum, 2 * chunks.channels, T(0));
          for (std::int64_t row = first; row < first + rows; ++row)
#pragma omp simd
            for (std::int64_t c = 0; c < chunks.channels; ++c) {
              const std::int64_t i = row * chunks.channels + c;
              const T value = cut<is_cut>(upper[i], out, i);
              sum[c] += value;
              product[c] += value * (in[i] - center[c]);
              if constexpr (is_stored) stored[i] = value;
            }
        });
      });
    });
    for (std::int64_t c = 0; c < chunks.channels; ++c) {
      double sum = 0, product = 0;
      for (std::int64_t i = 0; i < chunks.count; ++i) {
        sum += partials.first(i)[c];
        product += partials.second(i)[c];
      }
      dbeta.data<T>()[c] = static_cast<T>(sum);
      dgamma.data<T>()[c] = static_cast<T>(product * invstd.data<T>()[c]);
    }
  });
}

void batch_norm_backward_input(Cpu, const Tensor& dy, const Tensor& y, const Tensor& x,
                               const Tensor& mean, const Tensor& invstd, const Tensor& gamma,
                               const Tensor& dgamma, const Tensor& dbeta, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Chunks chunks(x);
    // dx = scale dz - slope (x - mean) - offset, all three per channel.
    Tensor factors({3, chunks.channels}, kDType<T>);
    T *scale = factors.data<T>(), *slope = scale + chunks.channels,
      *offset = slope + chunks.channels;
    const T share = T(1) / static_cast<T>(chunks.rows);
    for (std::int64_t c = 0; c < chunks.channels; ++c) {
      scale[c] = gamma.data<T>()[c] * invstd.data<T>()[c];
      const bool is_moving = dgamma.is_defined();
      slope[c] = is_moving ? scale[c] * invstd.data<T>()[c] * dgamma.data<T>()[c] * share : T(0);
      offset[c] = is_moving ? scale[c] * dbeta.data<T>()[c] * share : T(0);
    }
    const T *in = x.data<T>(), *upper = dy.data<T>(), *center = mean.data<T>();
    const T* out = data_or_null<T>(y);
    T* down = dx.data<T>();
    choose(y.is_defined(), [&](auto is_cut) {
      chunks.for_each([&](auto, auto first, auto rows) {
        for (std::int64_t row = first; row < first + rows; ++row)
#pragma omp simd
          for (std::int64_t c = 0; c < chunks.channels; ++c) {
            const std::int64_t i = row * chunks.channels + c;
            down[i] = scale[c] * cut<is_cut>(upper[i], out, i) - slope[c] * (in[i] - center[c]) -
                      offset[c];
          }
      });
    });
  });
}

}  // namespace proxent::kernel
