#include "tensor/cross_entropy.h"

#include <cmath>

#include "tensor/cpu/row.h"
#include "tensor/parallel.h"
#include "tensor/softmax.h"

namespace proxent::kernel {

void cross_entropy(Cpu cpu, const Tensor& logits, const Tensor& labels, std::int64_t ignore_index,
                   Tensor& log_sum, Tensor& loss, Tensor& count) {
  log_sum_exp(cpu, logits, log_sum);
  visit_float(logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* x = logits.data<T>();
    double sum = 0;  // of few numbers: double costs nothing
    std::int64_t rows = 0;
    for (std::int64_t r = 0; r < logits.dim(0); ++r) {
      const std::int64_t label = labels.data<std::int32_t>()[r];
      if (label == ignore_index) continue;
      sum += log_sum.data<T>()[r] - x[r * logits.dim(1) + label];
      ++rows;
    }
    *loss.data<T>() = static_cast<T>(sum / static_cast<double>(std::max<std::int64_t>(1, rows)));
    *count.data<T>() = static_cast<T>(rows);
  });
}

void cross_entropy_backward(Cpu, const Tensor& dy, const Tensor& logits, const Tensor& labels,
                            std::int64_t ignore_index, const Tensor& log_sum, const Tensor& count,
                            Tensor& dlogits) {
  visit_float(logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t cols = logits.dim(1);
    const T share = *dy.data<T>() / std::max(T(1), *count.data<T>());
    parallel_for(logits.dim(0), row_grain(cols), [&](std::int64_t r) {
      const T* x = logits.data<T>() + r * cols;
      T* out = dlogits.data<T>() + r * cols;
      const std::int64_t label = labels.data<std::int32_t>()[r];
      if (label == ignore_index) return void(std::fill_n(out, cols, T(0)));
      const T total = log_sum.data<T>()[r];
      for (std::int64_t c = 0; c < cols; ++c) out[c] = share * std::exp(x[c] - total);
      out[label] -= share;
    });
  });
}

}  // namespace proxent::kernel
