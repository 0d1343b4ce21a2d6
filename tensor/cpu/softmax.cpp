#include "tensor/softmax.h"

#include <cmath>

#include "tensor/cpu/row.h"
#include "tensor/parallel.h"

namespace proxent::kernel {
namespace {

// The row's maximum, which is taken out of every exponent; 0 where that would make inf - inf.
template <class T>
T shift_of(const T* x, std::int64_t cols) {
  const T largest = row_max(x, cols);
  return std::isfinite(largest) ? largest : T(0);
}

template <class T>
T log_sum_exp_row(const T* x, std::int64_t cols) {
  const T shift = shift_of(x, cols);
  T sum = 0;
  for (std::int64_t c = 0; c < cols; ++c) sum += std::exp(x[c] - shift);
  return shift + std::log(sum);
}

// Calls row(r, first element of row r) for the rows of a (rows, cols) tensor, on all cores.
template <class Row>
void each_row(const Tensor& x, const Row& row) {
  const std::int64_t cols = x.dim(1);
  parallel_for(x.dim(0), row_grain(cols), [&](std::int64_t r) { row(r, r * cols); });
}
}  // namespace

void softmax(Cpu, const Tensor& x, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    each_row(x, [&, cols = x.dim(1)](std::int64_t, std::int64_t at) {
      const T* in = x.data<T>() + at;
      T* out = y.data<T>() + at;
      const T shift = row_max(in, cols);
      for (std::int64_t c = 0; c < cols; ++c) out[c] = std::exp(in[c] - shift);
      const T sum = row_sum(out, cols);
      for (std::int64_t c = 0; c < cols; ++c) out[c] /= sum;
    });
  });
}

void softmax_backward(Cpu, const Tensor& dy, const Tensor& y, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    each_row(y, [&, cols = y.dim(1)](std::int64_t, std::int64_t at) {
      const T* in = dy.data<T>() + at;
      const T* p = y.data<T>() + at;
      T* out = dx.data<T>() + at;
      const T common = row_dot(p, in, cols);
      for (std::int64_t c = 0; c < cols; ++c) out[c] = p[c] * (in[c] - common);
    });
  });
}

void log_softmax(Cpu, const Tensor& x, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    each_row(x, [&, cols = x.dim(1)](std::int64_t, std::int64_t at) {
      const T* in = x.data<T>() + at;
      T* out = y.data<T>() + at;
      // (x - shift) - log(sum), not x - (shift + log(sum)): keeps the digits of a large row.
      const T shift = row_max(in, cols);
      T sum = 0;
      for (std::int64_t c = 0; c < cols; ++c) sum += std::exp(in[c] - shift);
      const T log_sum = std::log(sum);
      for (std::int64_t c = 0; c < cols; ++c) out[c] = in[c] - shift - log_sum;
    });
  });
}

void log_softmax_backward(Cpu, const Tensor& dy, const Tensor& y, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    each_row(y, [&, cols = y.dim(1)](std::int64_t, std::int64_t at) {
      const T* in = dy.data<T>() + at;
      const T* log_p = y.data<T>() + at;
      T* out = dx.data<T>() + at;
      const T sum = row_sum(in, cols);
      for (std::int64_t c = 0; c < cols; ++c) out[c] = in[c] - std::exp(log_p[c]) * sum;
    });
  });
}

void log_sum_exp(Cpu, const Tensor& x, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    each_row(x, [&, cols = x.dim(1)](std::int64_t r, std::int64_t at) {
      y.data<T>()[r] = log_sum_exp_row(x.data<T>() + at, cols);
    });
  });
}

void log_sum_exp_backward(Cpu, const Tensor& dy, const Tensor& x, const Tensor& y, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    constexpr T kExcluded = -std::numeric_limits<T>::infinity();
    each_row(x, [&, cols = x.dim(1)](std::int64_t r, std::int64_t at) {
      const T* in = x.data<T>() + at;
      T* out = dx.data<T>() + at;
      const T d = dy.data<T>()[r], total = y.data<T>()[r];
      for (std::int64_t c = 0; c < cols; ++c)
        out[c] = in[c] == kExcluded ? T(0) : d * std::exp(in[c] - total);
    });
  });
}

}  // namespace proxent::kernel
