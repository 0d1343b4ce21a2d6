#include "tensor/cross_entropy.h"

#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"
#include "tensor/softmax.h"

namespace proxent::kernel {
namespace {
using cuda::block_sum;
using cuda::elements;

// loss = mean of log_sum - logits[label] over the rows that count, count = how many do. One block:
// a batch has some hundred rows, of which it reads one logit each. Summed in double, which costs
// nothing for so few.
template <class T>
__global__ void mean_loss_kernel(const T* logits, const std::int32_t* labels,
                                 std::int64_t ignore_index, const T* log_sum, T* loss, T* count,
                                 std::int64_t rows, std::int64_t cols) {
  double sum = 0;
  int counted = 0;
  for (std::int64_t r = threadIdx.x; r < rows; r += blockDim.x) {
    const std::int64_t label = labels[r];
    if (label == ignore_index) continue;
    sum += log_sum[r] - logits[r * cols + label];
    ++counted;
  }
  sum = block_sum(sum);
  counted = block_sum(counted);
  if (threadIdx.x != 0) return;
  *loss = static_cast<T>(sum / max(1, counted));
  *count = static_cast<T>(counted);
}

// dlogits = dy / count (exp(logits - log_sum) - onehot(label)); 0 in rows that do not count. One
// block per row; reads the logits once and writes as much.
template <class T>
__global__ void cross_entropy_backward_kernel(const T* dy, const T* logits,
                                              const std::int32_t* labels, std::int64_t ignore_index,
                                              const T* log_sum, const T* count, T* dlogits,
                                              int cols) {
  logits += std::int64_t{blockIdx.x} * cols;
  dlogits += std::int64_t{blockIdx.x} * cols;
  const std::int64_t label = labels[blockIdx.x];
  const bool counts = label != ignore_index;
  const T share = *dy / max(T(1), *count), total = log_sum[blockIdx.x];
  for (int c = threadIdx.x; c < cols; c += blockDim.x)
    dlogits[c] = counts ? share * exp(logits[c] - total) - (c == label ? share : T(0)) : T(0);
}
}  // namespace

void cross_entropy(Cuda device, const Tensor& logits, const Tensor& labels,
                   std::int64_t ignore_index, Tensor& log_sum, Tensor& loss, Tensor& count) {
  log_sum_exp(device, logits, log_sum);
  visit_float(logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(mean_loss_kernel<T>, 1, 256, 0, elements<T>(logits),
                        elements<std::int32_t>(labels), ignore_index, elements<T>(log_sum),
                        elements<T>(loss), elements<T>(count), logits.dim(0), logits.dim(1));
  });
}

void cross_entropy_backward(Cuda, const Tensor& dy, const Tensor& logits, const Tensor& labels,
                            std::int64_t ignore_index, const Tensor& log_sum, const Tensor& count,
                            Tensor& dlogits) {
  visit_float(logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(cross_entropy_backward_kernel<T>, cuda::blocks_for(logits.dim(0), 1),
                        cuda::threads_for_row(logits.dim(1)), 0, elements<T>(dy),
                        elements<T>(logits), elements<std::int32_t>(labels), ignore_index,
                        elements<T>(log_sum), elements<T>(count), elements<T>(dlogits),
                        static_cast<int>(logits.dim(1)));
  });
}

}  // namespace proxent::kernel
