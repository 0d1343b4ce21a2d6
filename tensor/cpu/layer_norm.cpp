#include "tensor/layer_norm.h"

#include <cmath>

#include "tensor/cpu/row.h"
#include "tensor/parallel.h"

namespace proxent::kernel {

void layer_norm(Cpu, const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps,
                Tensor& y, Tensor& unit, Tensor& inverse) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t cols = x.dim(1);
    const T* scale = gamma.is_defined() ? gamma.data<T>() : nullptr;
    const T* shift = beta.is_defined() ? beta.data<T>() : nullptr;
    parallel_for(x.dim(0), row_grain(cols), [&](std::int64_t r) {
      const T* in = x.data<T>() + r * cols;
      T* centred = unit.data<T>() + r * cols;
      T* out = y.data<T>() + r * cols;
      const T mean = row_sum(in, cols) / T(cols);
      for (std::int64_t c = 0; c < cols; ++c) centred[c] = in[c] - mean;
      const T factor = 1 / std::sqrt(row_dot(centred, centred, cols) / T(cols) + T(eps));
      for (std::int64_t c = 0; c < cols; ++c) {
        centred[c] *= factor;
        out[c] = (scale ? scale[c] : T(1)) * centred[c] + (shift ? shift[c] : T(0));
      }
      inverse.data<T>()[r] = factor;
    });
  });
}

void layer_norm_backward(Cpu, const Tensor& dy, const Tensor& gamma, const Tensor& unit,
                         const Tensor& inverse, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t cols = dy.dim(1);
    const T* scale = gamma.is_defined() ? gamma.data<T>() : nullptr;
    parallel_for(dy.dim(0), row_grain(cols), [&](std::int64_t r) {
      const T* in = dy.data<T>() + r * cols;
      const T* u = unit.data<T>() + r * cols;
      T* g = dx.data<T>() + r * cols;  // gamma dy first, dx at the end
      for (std::int64_t c = 0; c < cols; ++c) g[c] = (scale ? scale[c] : T(1)) * in[c];
      const T mean = row_sum(g, cols) / T(cols), along = row_dot(g, u, cols) / T(cols);
      const T factor = inverse.data<T>()[r];
      for (std::int64_t c = 0; c < cols; ++c) g[c] = factor * (g[c] - mean - u[c] * along);
    });
  });
}

void layer_norm_backward_gamma(Cpu, const Tensor& dy, const Tensor& unit, Tensor& dgamma) {
  constexpr std::int64_t kColumns = 64;  // a thread owns columns, so no two add to the same element
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t cols = dy.dim(1);
    T* out = dgamma.data<T>();
    std::fill_n(out, cols, T(0));
    parallel_ranges(cols, kColumns, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t r = 0; r < dy.dim(0); ++r)
        for (std::int64_t c = first; c < last; ++c)
          out[c] += dy.data<T>()[r * cols + c] * unit.data<T>()[r * cols + c];
    });
  });
}

}  // namespace proxent::kernel
