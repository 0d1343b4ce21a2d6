#include "tensor/normalize.h"

#include <cmath>

#include "tensor/cpu/row.h"
#include "tensor/parallel.h"

namespace proxent::kernel {

void normalize_rows(Cpu, const Tensor& x, Tensor& y, Tensor& length) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t cols = x.dim(1);
    parallel_for(x.dim(0), row_grain(cols), [&](std::int64_t r) {
      const T* in = x.data<T>() + r * cols;
      T* out = y.data<T>() + r * cols;
      const T len = std::max(std::sqrt(row_dot(in, in, cols)), T(kMinLength));
      for (std::int64_t c = 0; c < cols; ++c) out[c] = in[c] / len;
      length.data<T>()[r] = len;
    });
  });
}

void normalize_rows_backward(Cpu, const Tensor& dy, const Tensor& y, const Tensor& length,
                             Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t cols = dy.dim(1);
    parallel_for(dy.dim(0), row_grain(cols), [&](std::int64_t r) {
      const T* in = dy.data<T>() + r * cols;
      const T* unit = y.data<T>() + r * cols;
      T* out = dx.data<T>() + r * cols;
      const T len = length.data<T>()[r];
      const T stretch = len > T(kMinLength) ? row_dot(unit, in, cols) : T(0);
      for (std::int64_t c = 0; c < cols; ++c) out[c] = (in[c] - unit[c] * stretch) / len;
    });
  });
}

}  // namespace proxent::kernel
