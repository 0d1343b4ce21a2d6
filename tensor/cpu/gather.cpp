#include "tensor/gather.h"

#include <algorithm>

#include "tensor/cpu/row.h"
#include "tensor/parallel.h"

namespace proxent::kernel {

void arange(Cpu, std::int64_t repeats, Tensor& y) {
  for (std::int64_t n = 0; n < y.numel(); ++n)
    y.data<std::int32_t>()[n] = static_cast<std::int32_t>(n / repeats);
}

void gather_rows(Cpu, const Tensor& x, const Tensor& index, Tensor& y) {
  const std::int32_t* from = index.data<std::int32_t>();
  const std::int64_t cols = x.dim(1);
  visit_any(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    parallel_for(y.dim(0), row_grain(cols), [&](std::int64_t n) {
      std::copy_n(x.data<T>() + from[n] * cols, cols, y.data<T>() + n * cols);
    });
  });
}

void gather_rows_backward(Cpu, const Tensor& dy, const Tensor& index, Tensor& dx) {
  constexpr std::int64_t kColumns = 64;  // a thread owns columns, so no two add to the same element
  const std::int32_t* to = index.data<std::int32_t>();
  const std::int64_t cols = dy.dim(1);
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* out = dx.data<T>();
    std::fill_n(out, dx.numel(), T(0));
    parallel_ranges(cols, kColumns, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t n = 0; n < dy.dim(0); ++n)
        for (std::int64_t c = first; c < last; ++c)
          out[to[n] * cols + c] += dy.data<T>()[n * cols + c];
    });
  });
}

void pick(Cpu, const Tensor& x, const Tensor& index, Tensor& y) {
  const std::int32_t* from = index.data<std::int32_t>();
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t n = 0; n < x.dim(0); ++n)
      y.data<T>()[n] = x.data<T>()[n * x.dim(1) + from[n]];
  });
}

void pick_backward(Cpu, const Tensor& dy, const Tensor& index, Tensor& dx) {
  const std::int32_t* to = index.data<std::int32_t>();
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* out = dx.data<T>();
    std::fill_n(out, dx.numel(), T(0));
    for (std::int64_t n = 0; n < dy.dim(0); ++n) out[n * dx.dim(1) + to[n]] = dy.data<T>()[n];
  });
}

}  // namespace proxent::kernel
