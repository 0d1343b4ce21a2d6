// Softmax, its logarithm, and log-sum-exp along rows. One block per row throughout: rows are
// classes or proxies, 100 to 10,000 of them, so a row fills a block and rows fill the GPU. A row is
// read two or three times, from memory once and then from the cache, and written once.
#include "tensor/softmax.h"

#include <limits>

#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::block_max;
using cuda::block_sum;
using cuda::elements;

// The row's maximum, -infinity if it has no element; NaN elements are skipped.
template <class T>
__device__ T row_max(const T* x, int cols) {
  T largest = -std::numeric_limits<T>::infinity();
  for (int c = threadIdx.x; c < cols; c += blockDim.x) largest = max(largest, x[c]);
  return block_max(largest);
}
// sum_c exp(x_c - shift).
template <class T>
__device__ T sum_of_exp(const T* x, int cols, T shift) {
  T sum = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) sum += exp(x[c] - shift);
  return block_sum(sum);
}

// y = exp(x - max) / sum of the same.
template <class T>
__global__ void softmax_kernel(const T* x, T* y, int cols) {
  x += std::int64_t{blockIdx.x} * cols;
  y += std::int64_t{blockIdx.x} * cols;
  const T shift = row_max(x, cols);
  const T sum = sum_of_exp(x, cols, shift);
  for (int c = threadIdx.x; c < cols; c += blockDim.x) y[c] = exp(x[c] - shift) / sum;
}

// dx = y (dy - y . dy).
template <class T>
__global__ void softmax_backward_kernel(const T* dy, const T* y, T* dx, int cols) {
  dy += std::int64_t{blockIdx.x} * cols;
  y += std::int64_t{blockIdx.x} * cols;
  dx += std::int64_t{blockIdx.x} * cols;
  T common = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) common += y[c] * dy[c];
  common = block_sum(common);
  for (int c = threadIdx.x; c < cols; c += blockDim.x) dx[c] = y[c] * (dy[c] - common);
}

// y = (x - max) - log(sum of exp(x - max)), not x - (max + log): keeps the digits of a large row.
template <class T>
__global__ void log_softmax_kernel(const T* x, T* y, int cols) {
  x += std::int64_t{blockIdx.x} * cols;
  y += std::int64_t{blockIdx.x} * cols;
  const T shift = row_max(x, cols);
  const T log_sum = log(sum_of_exp(x, cols, shift));
  for (int c = threadIdx.x; c < cols; c += blockDim.x) y[c] = x[c] - shift - log_sum;
}

// dx = dy - exp(y) sum(dy).
template <class T>
__global__ void log_softmax_backward_kernel(const T* dy, const T* y, T* dx, int cols) {
  dy += std::int64_t{blockIdx.x} * cols;
  y += std::int64_t{blockIdx.x} * cols;
  dx += std::int64_t{blockIdx.x} * cols;
  T sum = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) sum += dy[c];
  sum = block_sum(sum);
  for (int c = threadIdx.x; c < cols; c += blockDim.x) dx[c] = dy[c] - exp(y[c]) * sum;
}

// y = shift + log(sum of exp(x - shift)), the shift being the maximum, or 0 where that is infinite
// and would make inf - inf.
template <class T>
__global__ void log_sum_exp_kernel(const T* x, T* y, int cols) {
  x += std::int64_t{blockIdx.x} * cols;
  const T largest = row_max(x, cols);
  const T shift = isfinite(largest) ? largest : T(0);
  const T sum = sum_of_exp(x, cols, shift);
  if (threadIdx.x == 0) y[blockIdx.x] = shift + log(sum);
}

// dx = dy exp(x - y), 0 where x is masked by -infinity. Reads x and writes dx once.
template <class T>
__global__ void log_sum_exp_backward_kernel(const T* dy, const T* x, const T* y, T* dx, int cols) {
  x += std::int64_t{blockIdx.x} * cols;
  dx += std::int64_t{blockIdx.x} * cols;
  const T d = dy[blockIdx.x], total = y[blockIdx.x];
  for (int c = threadIdx.x; c < cols; c += blockDim.x)
    dx[c] = x[c] == -std::numeric_limits<T>::infinity() ? T(0) : d * exp(x[c] - total);
}

// One block for each row of `rows`.
template <class Kernel, class... Arguments>
void launch_rows(const Tensor& rows, Kernel kernel, Arguments... arguments) {
  cuda::launch_kernel(kernel, cuda::blocks_for(rows.dim(0), 1), cuda::threads_for_row(rows.dim(1)),
                      0, arguments..., static_cast<int>(rows.dim(1)));
}
}  // namespace

void softmax(Cuda, const Tensor& x, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows(x, softmax_kernel<T>, elements<T>(x), elements<T>(y));
  });
}
void softmax_backward(Cuda, const Tensor& dy, const Tensor& y, Tensor& dx) {
  visit_float(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows(y, softmax_backward_kernel<T>, elements<T>(dy), elements<T>(y), elements<T>(dx));
  });
}
void log_softmax(Cuda, const Tensor& x, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows(x, log_softmax_kernel<T>, elements<T>(x), elements<T>(y));
  });
}
void log_softmax_backward(Cuda, const Tensor& dy, const Tensor& y, Tensor& dx) {
  visit_float(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows(y, log_softmax_backward_kernel<T>, elements<T>(dy), elements<T>(y),
                elements<T>(dx));
  });
}
void log_sum_exp(Cuda, const Tensor& x, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows(x, log_sum_exp_kernel<T>, elements<T>(x), elements<T>(y));
  });
}
void log_sum_exp_backward(Cuda, const Tensor& dy, const Tensor& x, const Tensor& y, Tensor& dx) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows(x, log_sum_exp_backward_kernel<T>, elements<T>(dy), elements<T>(x), elements<T>(y),
                elements<T>(dx));
  });
}

}  // namespace proxent::kernel
