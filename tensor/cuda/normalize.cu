// Rows to unit length. One block per row: rows are embeddings or proxies of 64 to 2048 dimensions,
// too short to split over blocks. Each kernel reads its rows twice, the second time from the cache,
// and writes once, so it runs at the speed of memory.
#include "tensor/normalize.h"

#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::elements;

// y = x / |x|, length = |x|.
template <class T>
__global__ void normalize_rows_kernel(const T* x, T* y, T* length, int cols) {
  x += std::int64_t{blockIdx.x} * cols;
  y += std::int64_t{blockIdx.x} * cols;
  T squares = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) squares += x[c] * x[c];
  const T len = max(sqrt(cuda::block_sum(squares)), T(kMinLength));
  for (int c = threadIdx.x; c < cols; c += blockDim.x) y[c] = x[c] / len;
  if (threadIdx.x == 0) length[blockIdx.x] = len;
}

// dx = (dy - y (y . dy)) / length; a clamped row is not turned, only scaled: dx = dy / length.
template <class T>
__global__ void normalize_rows_backward_kernel(const T* dy, const T* y, const T* length, T* dx,
                                               int cols) {
  dy += std::int64_t{blockIdx.x} * cols;
  y += std::int64_t{blockIdx.x} * cols;
  dx += std::int64_t{blockIdx.x} * cols;
  T stretch = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) stretch += y[c] * dy[c];
  stretch = cuda::block_sum(stretch);
  const T len = length[blockIdx.x];
  if (!(len > T(kMinLength))) stretch = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) dx[c] = (dy[c] - y[c] * stretch) / len;
}
}  // namespace

void normalize_rows(Cuda, const Tensor& x, Tensor& y, Tensor& length) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(normalize_rows_kernel<T>, cuda::blocks_for(x.dim(0), 1),
                        cuda::threads_for_row(x.dim(1)), 0, elements<T>(x), elements<T>(y),
                        elements<T>(length), static_cast<int>(x.dim(1)));
  });
}

void normalize_rows_backward(Cuda, const Tensor& dy, const Tensor& y, const Tensor& length,
                             Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(normalize_rows_backward_kernel<T>, cuda::blocks_for(dy.dim(0), 1),
                        cuda::threads_for_row(dy.dim(1)), 0, elements<T>(dy), elements<T>(y),
                        elements<T>(length), elements<T>(dx), static_cast<int>(dy.dim(1)));
  });
}

}  // namespace proxent::kernel
