// The CUDA runtime as everything in this folder uses it: checked calls, one stream, one workspace,
// one way to launch a kernel.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <source_location>
#include <string_view>
#include <utility>

#include "tensor/gpu.h"

// Throws CudaError with the call's text and CUDA's own explanation unless `call` succeeds.
#define CUDA_CHECK(call) ::proxent::cuda::check_call((call), #call)

namespace proxent::cuda {

[[noreturn]] void throw_cuda_error(cudaError_t error, std::string_view call,
                                   const std::source_location& where);
inline void check_call(cudaError_t error, std::string_view call,
                       std::source_location where = std::source_location::current()) {
  if (error != cudaSuccess) [[unlikely]]
    throw_cuda_error(error, call, where);
}

// The stream of all computation. Starts the GPU on first use; throws CudaError where there is none.
// The pool hands out memory in this stream's order, so other streams need events.
cudaStream_t compute_stream();
// Of the GPU in use: grids of kernels that walk through all their work are sized by it.
int multiprocessors();

// Device memory for a library's scratch, aligned to 256; one block for all, as large as the largest
// request so far. Its contents are lost at the next call.
void* workspace(std::int64_t bytes);
// From now on no workspace is given back when a larger one is needed: a graph uses the present one.
void keep_workspaces();

// Blocks of `per_block` items for n items. Throws where that is more than a grid can have.
unsigned blocks_for(std::int64_t n, std::int64_t per_block);

void count_launch();

// The one way to run a kernel: on the compute stream, with `shared_bytes` of dynamic shared memory.
// A grid without blocks is nothing to do.
template <class... Parameters, class... Arguments>
void launch_kernel(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = compute_stream();
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
  count_launch();
}

}  // namespace proxent::cuda
