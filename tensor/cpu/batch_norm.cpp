// Batch normalisation by chunks of rows. Each chunk is small enough to stay in the cache while it
// is read twice (mean, then squared deviations from it), so that the variance has no cancellation;
// chunks are joined in a fixed order, so that results do not depend on the number of threads.
#include "tensor/batch_norm.h"

#include <cmath>

#include "tensor/parallel.h"

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
  // The same from each thread's last chunk to its first. A for_each that follows finds the first
  // ones in the cache.
  template <class Body>
  void for_each_backwards(const Body& body) const {
    parallel_for_backwards(
        count, [&](std::int64_t chunk) { body(chunk, chunk * length, rows_in(chunk)); });
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

template <class T>
struct Moments {
  T mean, variance;
};
// Of channel c over all chunks, in double, around the first chunk's pivot.
template <class T>
Moments<T> join_chunks(const Chunks& chunks, Partials<T, 3>& partials, std::int64_t c) {
  const double origin = partials.row(0, 0)[c];
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < chunks.count; ++i) {
    const double offset = partials.row(i, 0)[c] - origin, rows = chunks.rows_in(i);
    const double chunk_sum = partials.row(i, 1)[c];
    sum += chunk_sum + rows * offset;
    squares += partials.row(i, 2)[c] + 2 * offset * chunk_sum + rows * offset * offset;
  }
  const double rows = static_cast<double>(chunks.rows), mean_offset = sum / rows;
  return {static_cast<T>(origin + mean_offset),
          static_cast<T>(std::max(squares / rows - mean_offset * mean_offset, 0.0))};
}

template <class T>
T inverse_deviation(T variance, double eps) {
  return T(1) / std::sqrt(variance + static_cast<T>(eps));
}

template <class T>
const T* data_or_null(const Tensor& x) {
  return x.is_defined() ? x.data<T>() : nullptr;
}

// Calls f with std::true_type or std::false_type.
template <class F>
void choose(bool condition, const F& f) {
  condition ? f(std::true_type{}) : f(std::false_type{});
}

// scale = gamma invstd.
template <class T>
Tensor scale_of(const BatchNormKept& kept) {
  Tensor scale(kept.gamma.shape(), kDType<T>);
  for (std::int64_t c = 0; c < scale.numel(); ++c)
    scale.data<T>()[c] = kept.gamma.data<T>()[c] * kept.invstd.data<T>()[c];
  return scale;
}

// (x - mean) scale + shift in channel c: not x scale + (shift - mean scale), which would lose
// digits where the mean is large. Loops copy it to where the compiler sees that it never changes.
template <class T>
struct Affine {
  const T *mean, *scale, *shift;
  Affine(const BatchNormKept& kept, const Tensor& scales)
      : mean(kept.mean.data<T>()), scale(scales.data<T>()), shift(kept.beta.data<T>()) {}
  T operator()(T x, std::int64_t c) const { return (x - mean[c]) * scale[c] + shift[c]; }
};

// How backward knows where the ReLU let dy pass.
enum class Relu { none, from_x, from_y };

// Calls f with the case as a constant.
template <class F>
void choose_relu(const BatchNormKept& kept, const F& f) {
  if (!kept.has_relu)
    f(std::integral_constant<Relu, Relu::none>{});
  else if (kept.passed.is_defined())
    f(std::integral_constant<Relu, Relu::from_y>{});
  else
    f(std::integral_constant<Relu, Relu::from_x>{});
}

// dz of element i in channel c.
template <Relu kRelu, class T>
T cut(T dy, const T* x, const T* y, std::int64_t i, std::int64_t c, const Affine<T>& f) {
  if constexpr (kRelu == Relu::from_x) return f(x[i], c) > T(0) ? dy : T(0);
  if constexpr (kRelu == Relu::from_y) return y[i] > T(0) ? dy : T(0);
  return dy;
}

}  // namespace

void batch_statistics(Cpu, const Tensor& x, const BatchNormOptions& options, Tensor& mean,
                      Tensor& invstd, Tensor& running_mean, Tensor& running_var) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Chunks chunks(x);
    Partials<T, 3> partials(chunks);
    const T* in = x.data<T>();
    chunks.for_each_backwards([&](auto chunk, auto first, auto rows) {
      T* pivot = partials.row(chunk, 0);
      find_pivot(in + first * chunks.channels, rows, chunks.channels, pivot);
      sum_deviations(in + first * chunks.channels, rows, chunks.channels, pivot,
                     partials.row(chunk, 1), partials.row(chunk, 2));
    });
    const double rows = static_cast<double>(chunks.rows), unbiased = rows / (rows - 1);
    const auto move = [&](T& running, double batch) {
      running = static_cast<T>((1 - options.momentum) * running + options.momentum * batch);
    };
    parallel_for(chunks.channels, 64, [&](std::int64_t c) {
      const auto [average, variance] = join_chunks(chunks, partials, c);
      mean.data<T>()[c] = average;
      invstd.data<T>()[c] = inverse_deviation(variance, options.eps);
      if (!running_mean.is_defined() || !std::isfinite(average + variance)) return;
      move(running_mean.data<T>()[c], average);
      move(running_var.data<T>()[c], variance * unbiased);
    });
  });
}

void running_statistics(Cpu, const Tensor& running_mean, const Tensor& running_var, double eps,
                        Tensor& mean, Tensor& invstd) {
  visit_float(running_mean.dtype(), [&](auto zero) {
    using T = decltype(zero);
    std::copy_n(running_mean.data<T>(), mean.numel(), mean.data<T>());
    std::transform(running_var.data<T>(), running_var.data<T>() + invstd.numel(), invstd.data<T>(),
                   [&](T variance) { return inverse_deviation(variance, eps); });
  });
}

void batch_norm(Cpu, const BatchNormKept& kept, const Tensor& residual, Tensor& y) {
  visit_float(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Chunks chunks(kept.x);
    const Tensor scales = scale_of<T>(kept);
    const Affine<T> affine(kept, scales);
    const T *in = kept.x.data<T>(), *added = data_or_null<T>(residual);
    T* out = y.data<T>();
    choose(kept.has_relu, [&](auto has_relu) {
      choose(residual.is_defined(), [&](auto has_residual) {
        chunks.for_each([&, f = affine](auto, auto first, auto rows) {
          for (std::int64_t row = first; row < first + rows; ++row)
#pragma omp simd
            for (std::int64_t c = 0; c < chunks.channels; ++c) {
              const std::int64_t i = row * chunks.channels + c;
              T value = f(in[i], c);
              if constexpr (has_residual) value += added[i];
              if constexpr (has_relu) value = value < T(0) ? T(0) : value;  // NaN stays NaN
              out[i] = value;
            }
        });
      });
    });
  });
}

void batch_norm_backward_sums(Cpu, const Tensor& dy, const BatchNormKept& kept, Tensor& dgamma,
                              Tensor& dbeta, Tensor& dz) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Chunks chunks(kept.x);
    const Tensor scales = scale_of<T>(kept);
    const Affine<T> affine(kept, scales);
    Partials<T, 2> partials(chunks);
    const T *in = kept.x.data<T>(), *out = data_or_null<T>(kept.passed), *upper = dy.data<T>();
    T* stored = dz.is_defined() ? dz.data<T>() : nullptr;
    choose_relu(kept, [&](auto relu) {
      choose(dz.is_defined(), [&](auto is_stored) {
        chunks.for_each_backwards([&, f = affine](auto chunk, auto first, auto rows) {
          T *sum = partials.row(chunk, 0), *product = partials.row(chunk, 1);
          std::fill_n(sum, 2 * chunks.channels, T(0));
          for (std::int64_t row = first; row < first + rows; ++row)
#pragma omp simd
            for (std::int64_t c = 0; c < chunks.channels; ++c) {
              const std::int64_t i = row * chunks.channels + c;
              const T value = cut<relu>(upper[i], in, out, i, c, f);
              sum[c] += value;
              product[c] += value * (in[i] - f.mean[c]);
              if constexpr (is_stored) stored[i] = value;
            }
        });
      });
    });
    parallel_for(chunks.channels, 64, [&](std::int64_t c) {
      double sum = 0, product = 0;
      for (std::int64_t i = 0; i < chunks.count; ++i) {
        sum += partials.row(i, 0)[c];
        product += partials.row(i, 1)[c];
      }
      dbeta.data<T>()[c] = static_cast<T>(sum);
      dgamma.data<T>()[c] = static_cast<T>(product * kept.invstd.data<T>()[c]);
    });
  });
}

void batch_norm_backward_input(Cpu, const Tensor& dy, const BatchNormKept& kept,
                               const Tensor& dgamma, const Tensor& dbeta, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Chunks chunks(kept.x);
    const Tensor scales = scale_of<T>(kept);
    const Affine<T> affine(kept, scales);
    // dx = scale dz - slope (x - mean) - offset, all of them per channel.
    Tensor factors = Tensor::zeros({2, chunks.channels}, kDType<T>);
    T *slope = factors.data<T>(), *offset = slope + chunks.channels;
    const T share = T(1) / static_cast<T>(chunks.rows);
    if (dgamma.is_defined())
      for (std::int64_t c = 0; c < chunks.channels; ++c) {
        slope[c] = affine.scale[c] * kept.invstd.data<T>()[c] * dgamma.data<T>()[c] * share;
        offset[c] = affine.scale[c] * dbeta.data<T>()[c] * share;
      }
    const T *in = kept.x.data<T>(), *out = data_or_null<T>(kept.passed), *upper = dy.data<T>();
    T* down = dx.data<T>();
    choose_relu(kept, [&](auto relu) {
      chunks.for_each([&, f = affine](auto, auto first, auto rows) {
        for (std::int64_t row = first; row < first + rows; ++row)
#pragma omp simd
          for (std::int64_t c = 0; c < chunks.channels; ++c) {
            const std::int64_t i = row * chunks.channels + c;
            const T dz = cut<relu>(upper[i], in, out, i, c, f);
            down[i] = f.scale[c] * dz - slope[c] * (in[i] - f.mean[c]) - offset[c];
          }
      });
    });
  });
}

}  // namespace proxent::kernel
