// Rows and elements picked by number.
#include "tensor/gather.h"

#include "tensor/cuda/copy_rows.h"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::Compute;
using cuda::elements;

constexpr unsigned kThreads = 256;

// dx[r] = sum of dy[n] over index[n] = r, in order of n; dx is zero before. One block per n: if
// index[n] came up earlier it leaves the row to that block, otherwise it adds what is left of the
// index. So no two blocks write the same row, rows without an n cost nothing, and no atomic decides
// the order of a sum. Reads dy once, but looks at N^2 numbers of the index of length N:
// for the rows of a batch.
template <class T>
__global__ void gather_rows_backward_kernel(const T* dy, const std::int32_t* index, T* dx,
                                            int count, int cols) {
  const int n = static_cast<int>(blockIdx.x);
  const std::int32_t row = index[n];
  int is_taken = 0;
  for (int earlier = threadIdx.x; earlier < n; earlier += blockDim.x)
    is_taken |= index[earlier] == row;
  if (__syncthreads_or(is_taken)) return;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) {
    Compute<T> sum = 0;
    for (int m = n; m < count; ++m)
      if (index[m] == row) sum += cuda::widen(dy[std::int64_t{m} * cols + c]);
    dx[std::int64_t{row} * cols + c] = cuda::round_to<T>(sum);
  }
}

// y[n] = n / repeats. One element per thread.
__global__ void arange_kernel(std::int32_t* y, std::int64_t count, std::int64_t repeats) {
  const std::int64_t n = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (n < count) y[n] = static_cast<std::int32_t>(n / repeats);
}

// y[n] = x[n, index[n]]. One element per thread.
template <class T>
__global__ void pick_kernel(const T* x, const std::int32_t* index, T* y, std::int64_t rows,
                            std::int64_t cols) {
  const std::int64_t n = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (n < rows) y[n] = x[n * cols + index[n]];
}

// dx[n, c] = dy[n] where c = index[n], else 0: every element of dx is written once. One block per
// row.
template <class T>
__global__ void pick_backward_kernel(const T* dy, const std::int32_t* index, T* dx, int cols) {
  dx += std::int64_t{blockIdx.x} * cols;
  const T d = dy[blockIdx.x];
  const std::int32_t picked = index[blockIdx.x];
  for (int c = threadIdx.x; c < cols; c += blockDim.x) dx[c] = c == picked ? d : T(0);
}
}  // namespace

void arange(Cuda, std::int64_t repeats, Tensor& y) {
  cuda::launch_kernel(arange_kernel, cuda::blocks_for(y.numel(), kThreads), kThreads, 0,
                      elements<std::int32_t>(y), y.numel(), repeats);
}

void gather_rows(Cuda, const Tensor& x, const Tensor& index, Tensor& y) {
  const std::int64_t bytes = x.dim(1) * size_of(x.dtype());
  cuda::copy_rows({.from = x.raw(),
                   .from_stride = bytes,
                   .index = index.data<std::int32_t>(),
                   .to = y.raw(),
                   .to_stride = bytes,
                   .rows = y.dim(0),
                   .bytes = bytes});
}

void gather_rows_backward(Cuda, const Tensor& dy, const Tensor& index, Tensor& dx) {
  if (dx.bytes() > 0)
    CUDA_CHECK(
        cudaMemsetAsync(dx.raw(), 0, static_cast<std::size_t>(dx.bytes()), cuda::compute_stream()));
  cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(gather_rows_backward_kernel<T>, cuda::blocks_for(dy.dim(0), 1), kThreads, 0,
                        elements<T>(dy), elements<std::int32_t>(index), elements<T>(dx),
                        static_cast<int>(dy.dim(0)), static_cast<int>(dy.dim(1)));
  });
}

void pick(Cuda, const Tensor& x, const Tensor& index, Tensor& y) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(pick_kernel<T>, cuda::blocks_for(x.dim(0), kThreads), kThreads, 0,
                        elements<T>(x), elements<std::int32_t>(index), elements<T>(y), x.dim(0),
                        x.dim(1));
  });
}

void pick_backward(Cuda, const Tensor& dy, const Tensor& index, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(pick_backward_kernel<T>, cuda::blocks_for(dx.dim(0), 1), kThreads, 0,
                        elements<T>(dy), elements<std::int32_t>(index), elements<T>(dx),
                        static_cast<int>(dx.dim(1)));
  });
}

}  // namespace proxent::kernel
