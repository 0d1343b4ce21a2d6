#include "tensor/reduce.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/broadcast.h"
#include "tensor/cpu/row.h"
#include "tensor/parallel.h"

namespace proxent::kernel {
namespace {
// Calls row(first element of the full tensor's row, first element of the small one's, length, its
// stride).
template <class Row>
void walk_rows(const Shape& full, const Shape& small, const Row& row) {
  const auto n = padded_sizes(full);
  const Strides s = broadcast_strides(small, full);
  for (std::int64_t i0 = 0, at = 0; i0 < n[0]; ++i0)
    for (std::int64_t i1 = 0; i1 < n[1]; ++i1)
      for (std::int64_t i2 = 0; i2 < n[2]; ++i2, at += n[3])
        row(at, i0 * s[0] + i1 * s[1] + i2 * s[2], n[3], s[3]);
}
}  // namespace

void sum_to(Cpu, const Tensor& x, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = x.data<T>();
    std::vector<double> sums(static_cast<std::size_t>(y.numel()));  // of any number of rows
    walk_rows(x.shape(), y.shape(), [&](auto from, auto to, auto length, auto stride) {
      double* out = sums.data() + to;
      if (stride == 0) {
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t i = 0; i < length; ++i) sum += in[from + i];
        *out += sum;
      } else {
        for (std::int64_t i = 0; i < length; ++i) out[i] += in[from + i];
      }
    });
    std::transform(sums.begin(), sums.end(), y.data<T>(),
                   [](double sum) { return static_cast<T>(sum); });
  });
}

void broadcast_to(Cpu, const Tensor& x, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = x.data<T>();
    T* out = y.data<T>();
    walk_rows(y.shape(), x.shape(), [&](auto to, auto from, auto length, auto stride) {
      for (std::int64_t i = 0; i < length; ++i) out[to + i] = in[from + i * stride];
    });
  });
}

void max_last(Cpu, const Tensor& x, Tensor& values, Tensor& indices) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t cols = x.dim(1);
    parallel_for(x.dim(0), row_grain(cols), [&](std::int64_t r) {
      const T* in = x.data<T>() + r * cols;
      std::int64_t best = 0;
      for (std::int64_t c = 1; c < cols && !std::isnan(in[best]); ++c)
        if (in[c] > in[best] || std::isnan(in[c])) best = c;
      values.data<T>()[r] = in[best];
      indices.data<std::int32_t>()[r] = static_cast<std::int32_t>(best);
    });
  });
}

}  // namespace proxent::kernel
