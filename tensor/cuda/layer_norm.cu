// Layer normalisation: one block per row, as the rows of normalize.cu.
#include "tensor/layer_norm.h"

#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::block_sum;
using cuda::elements;

// unit = (x - mean) / sqrt(variance + eps), y = gamma unit + beta. The variance is that of the
// centred row, a second pass over x in the cache: x^2 - mean^2 would lose the digits of a row far
// from 0. Reads x once from memory, writes unit and y.
template <class T>
__global__ void layer_norm_kernel(const T* x, const T* gamma, const T* beta, T eps, T* y, T* unit,
                                  T* inverse, int cols) {
  x += std::int64_t{blockIdx.x} * cols;
  y += std::int64_t{blockIdx.x} * cols;
  unit += std::int64_t{blockIdx.x} * cols;
  T sum = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) sum += x[c];
  const T mean = block_sum(sum) / T(cols);
  T squares = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) squares += (x[c] - mean) * (x[c] - mean);
  const T factor = 1 / sqrt(block_sum(squares) / T(cols) + eps);
  for (int c = threadIdx.x; c < cols; c += blockDim.x) {
    const T u = (x[c] - mean) * factor;
    unit[c] = u;
    y[c] = (gamma ? gamma[c] : T(1)) * u + (beta ? beta[c] : T(0));
  }
  if (threadIdx.x == 0) inverse[blockIdx.x] = factor;
}

// With g = gamma dy: dx = inverse (g - mean(g) - unit mean(g unit)).
template <class T>
__global__ void layer_norm_backward_kernel(const T* dy, const T* gamma, const T* unit,
                                           const T* inverse, T* dx, int cols) {
  dy += std::int64_t{blockIdx.x} * cols;
  unit += std::int64_t{blockIdx.x} * cols;
  dx += std::int64_t{blockIdx.x} * cols;
  T sum = 0, dot = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) {
    const T g = (gamma ? gamma[c] : T(1)) * dy[c];
    sum += g;
    dot += g * unit[c];
  }
  const T mean = block_sum(sum) / T(cols), along = block_sum(dot) / T(cols);
  const T factor = inverse[blockIdx.x];
  for (int c = threadIdx.x; c < cols; c += blockDim.x)
    dx[c] = factor * ((gamma ? gamma[c] : T(1)) * dy[c] - mean - unit[c] * along);
}

constexpr unsigned kColumns = 32, kLines = 8;

// dgamma = sum over rows of dy unit. A line of threads reads neighbouring columns of a row, the
// lines take turns over the rows; a batch has too few rows to be worth splitting further. Reads dy
// and unit once.
template <class T>
__global__ void layer_norm_backward_gamma_kernel(const T* dy, const T* unit, T* dgamma,
                                                 std::int64_t rows, int cols) {
  __shared__ T sums[kLines][kColumns];
  const int c = static_cast<int>(blockIdx.x * kColumns + threadIdx.x);
  T sum = 0;
  if (c < cols)
    for (std::int64_t r = threadIdx.y; r < rows; r += kLines)
      sum += dy[r * cols + c] * unit[r * cols + c];
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || c >= cols) return;
  for (unsigned line = 1; line < kLines; ++line) sum += sums[line][threadIdx.x];
  dgamma[c] = sum;
}

// Null if undefined.
template <class T>
const T* optional_elements(const Tensor& x) {
  return x.is_defined() ? elements<T>(x) : nullptr;
}
}  // namespace

void layer_norm(Cuda, const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps,
                Tensor& y, Tensor& unit, Tensor& inverse) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(layer_norm_kernel<T>, cuda::blocks_for(x.dim(0), 1),
                        cuda::threads_for_row(x.dim(1)), 0, elements<T>(x),
                        optional_elements<T>(gamma), optional_elements<T>(beta),
                        static_cast<T>(eps), elements<T>(y), elements<T>(unit),
                        elements<T>(inverse), static_cast<int>(x.dim(1)));
  });
}

void layer_norm_backward(Cuda, const Tensor& dy, const Tensor& gamma, const Tensor& unit,
                         const Tensor& inverse, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(layer_norm_backward_kernel<T>, cuda::blocks_for(dy.dim(0), 1),
                        cuda::threads_for_row(dy.dim(1)), 0, elements<T>(dy),
                        optional_elements<T>(gamma), elements<T>(unit), elements<T>(inverse),
                        elements<T>(dx), static_cast<int>(dy.dim(1)));
  });
}

void layer_norm_backward_gamma(Cuda, const Tensor& dy, const Tensor& unit, Tensor& dgamma) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(layer_norm_backward_gamma_kernel<T>, cuda::blocks_for(dy.dim(1), kColumns),
                        dim3(kColumns, kLines), 0, elements<T>(dy), elements<T>(unit),
                        elements<T>(dgamma), dy.dim(0), static_cast<int>(dy.dim(1)));
  });
}

}  // namespace proxent::kernel
