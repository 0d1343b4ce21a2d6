#include "tensor/memory.h"

#include "tensor/cuda/runtime.h"

namespace proxent::detail {

void* system_allocate(Cuda, std::int64_t bytes) {
  cuda::compute_stream();  // makes the chosen GPU the current one, or says why there is none
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<std::size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the pool deals with it: it must not be found by the next check
    return nullptr;
  }
  CUDA_CHECK(error);
  return data;
}

// cudaFree waits for the device, so no kernel can still be using the block.
void system_free(Cuda, void* data) noexcept { cudaFree(data); }

void fill_bytes(Cuda, void* data, unsigned char value, std::int64_t bytes) {
  CUDA_CHECK(cudaMemsetAsync(data, value, static_cast<std::size_t>(bytes), cuda::compute_stream()));
}

// Waits, because only some machines copy pageable memory to a staging area before the call returns:
// where the GPU reads the processor's memory itself (Grace), it may do so later.
void copy_in(Cuda, void* to, const void* from, std::int64_t bytes) {
  const cudaStream_t stream = cuda::compute_stream();
  CUDA_CHECK(
      cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream));
  CUDA_CHECK(cudaStreamSynchronize(stream));
}

void copy_out(Cuda, void* to, const void* from, std::int64_t bytes) {
  const cudaStream_t stream = cuda::compute_stream();
  CUDA_CHECK(
      cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream));
  CUDA_CHECK(cudaStreamSynchronize(stream));
}

// In the stream's order: kernels that were told to use the block before may not have run yet.
void allow_access(Cuda, [[maybe_unused]] const void* data, [[maybe_unused]] std::int64_t bytes,
                  [[maybe_unused]] std::int64_t block_bytes) {
#if defined(PROXENT_SANITIZE_ADDRESS) && defined(PROXENT_CUDA_EMULATED)
  cuda_emulator::run_on_stream(cuda::compute_stream(),
                               [=] { allow_access(Cpu{}, data, bytes, block_bytes); });
#endif
}

}  // namespace proxent::detail
