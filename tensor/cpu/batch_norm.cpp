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

  std::int64_t rows_in(std::int64_t chunk) const { return std::min(length, rows - chunk * length); }
  // Calls body(chunk, first row, number of rows).
  template <class Body>
  void for_each(const Body& body) const {
    parallel_for(count, 1,
                 [&](std::int64_t chunk) { body(chunk, chunk * length, rows_in(chunk)); });
  }

  static constexpr std::int64_t kElements = 1 << 15;  // 128 KiB of f32
  static constexpr std::int64_t kLeastRows = 16;      // keeps partial results small beside x
};

// kParts rows of partial results for every chunk.
template <class T, int kParts>
class Partials {
 public:
  explicit Partials(const Chunks& chunks)
      : channels_(chunks.channels), memory_({chunks.count, kParts, chunks.channels}, kDType<T>) {}
  T* row(std::int64_t chunk, int part) {
    return memory_.data<T>() + (chunk * kParts + part) * channels_;
  }

 private:
  std::int64_t channels_;
  Tensor memory_;
};

// Mean of a few rows spread over the chunk: near its mean, whatever the data.
template <class T>
void find_pivot(const T* x, std::int64_t rows, std::int64_t channels, T* pivot) {
  constexpr std::int64_t kSamples = 16;
  const std::int64_t step = (rows + kSamples - 1) / kSamples, samples = (rows + step - 1) / step;
  std::fill_n(pivot, channels, T(0));
  for (std::int64_t row = 0; row < rows; row += step)
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) pivot[c] += x[row * channels + c];
  for (std::int64_t c = 0; c < channels; ++c) pivot[c] /= static_cast<T>(samples);
}

// sum and squares of the deviations from the pivot.
template <class T>
void sum_deviations(const T* x, std::int64_t rows, std::int64_t channels, const T* pivot, T* sum,
                    T* squares) {
  std::fill_n(sum, channels, T(0));
  std::fill_n(squares, channels, T(0));
  for (std::int64_t row = 0; row < rows; ++row)
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) {
      const T deviation = x[row * channels + c] - pivot[c];
      sum[c] += deviation;
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
    Partials<T, 3> partials(chunks);
    const T* in = x.data<T>();
    chunks.for_each([&](auto chunk, auto first, auto rows) {
      T* pivot = partials.row(chunk, 0);
      find_pivot(in + first * chunks.channels, rows, chunks.channels, pivot);
      sum_deviations(in + first * chunks.channels, rows, chunks.channels, pivot,
                     partials.row(chunk, 1), partials.row(chunk, 2));
    });
    parallel_for(chunks.channels, 64, [&](std::int64_t c) {
      // Around the first chunk's pivot, in double.
      const double origin = partials.row(0, 0)[c];
      double sum = 0, squares = 0;
      for (std::int64_t i = 0; i < chunks.count; ++i) {
        const double offset = partials.row(i, 0)[c] - origin, rows = chunks.rows_in(i);
        const double chunk_sum = partials.row(i, 1)[c];
        sum += chunk_sum + rows * offset;
        squares += partials.row(i, 2)[c] + 2 * offset * chunk_sum + rows * offset * offset;
      }
      const double rows = static_cast<double>(chunks.rows), mean_offset = sum / rows;
      mean.data<T>()[c] = static_cast<T>(origin + mean_offset);
      variance.data<T>()[c] =
          static_cast<T>(std::max(squares / rows - mean_offset * mean_offset, 0.0));
    });
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
    Partials<T, 2> partials(chunks);
    const T *in = x.data<T>(), *upper = dy.data<T>(), *center = mean.data<T>();
    const T* out = data_or_null<T>(y);
    T* stored = dz.is_defined() ? dz.data<T>() : nullptr;
    choose(y.is_defined(), [&](auto is_cut) {
      choose(dz.is_defined(), [&](auto is_stored) {
        chunks.for_each([&](auto chunk, auto first, auto rows) {
          T *sum = partials.row(chunk, 0), *product = partials.row(chunk, 1);
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
        sum += partials.row(i, 0)[c];
        product += partials.row(i, 1)[c];
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
