#include "tensor/cuda/download.h"

#include <cstring>
#include <utility>

namespace proxent {
Downloads::Gpu::Gpu() {
  cuda::compute_stream();  // starts the GPU
  for (Slot& slot : slots_)
    CUDA_CHECK(cudaEventCreateWithFlags(&slot.copied, cudaEventDisableTiming));
}

// Destructors do not throw. What happened to the stream is told again by its next call; what only
// these calls say, as of an event that a recording took, concerns nobody.
Downloads::Gpu::~Gpu() {
  for (Slot& slot : slots_) {
    cudaEventSynchronize(slot.copied);
    cudaFreeHost(slot.pinned);
    cudaEventDestroy(slot.copied);
  }
  cudaGetLastError();
}

void Downloads::Gpu::push(std::int64_t number, const Tensor& x) {
  Slot& slot = slot_of(number);
  const auto bytes = static_cast<std::size_t>(x.bytes());
  if (slot.pinned_bytes < x.bytes()) {
    CUDA_CHECK(cudaFreeHost(std::exchange(slot.pinned, nullptr)));
    void* pinned = nullptr;
    CUDA_CHECK(cudaHostAlloc(&pinned, bytes, cudaHostAllocDefault));
    slot.pinned = static_cast<std::byte*>(pinned);
    slot.pinned_bytes = x.bytes();
  }
  slot.shape = x.shape();
  slot.dtype = x.dtype();
  CUDA_CHECK(
      cudaMemcpyAsync(slot.pinned, x.raw(), bytes, cudaMemcpyDeviceToHost, cuda::compute_stream()));
  CUDA_CHECK(cudaEventRecord(slot.copied, cuda::compute_stream()));
}

Tensor Downloads::Gpu::pop(std::int64_t number) {
  const Slot& slot = slot_of(number);
  CUDA_CHECK(cudaEventSynchronize(slot.copied));
  Tensor x(slot.shape, slot.dtype);
  std::memcpy(x.raw(), slot.pinned, static_cast<std::size_t>(x.bytes()));
  return x;
}

}  // namespace proxent
