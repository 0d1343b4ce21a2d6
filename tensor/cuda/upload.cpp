#include "tensor/cuda/upload.h"

#include <cstring>
#include <utility>

namespace proxent {
Uploads::Gpu::Gpu() {
  cuda::compute_stream();  // starts the GPU
  CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  for (Slot& slot : slots_) {
    CUDA_CHECK(cudaEventCreateWithFlags(&slot.copied, cudaEventDisableTiming));
    CUDA_CHECK(cudaEventCreateWithFlags(&slot.consumed, cudaEventDisableTiming));
    CUDA_CHECK(cudaEventRecord(slot.copied, stream_));
    CUDA_CHECK(cudaEventRecord(slot.consumed, cuda::compute_stream()));
  }
}

// Destructors do not throw. What happened to the stream is told again by its next call; what only
// these calls say, as of an event that a recording took, concerns nobody.
Uploads::Gpu::~Gpu() {
  cudaStreamSynchronize(stream_);
  for (Slot& slot : slots_) {
    cudaFreeHost(slot.pinned);
    cudaEventDestroy(slot.copied);
    cudaEventDestroy(slot.consumed);
  }
  cudaStreamDestroy(stream_);
  cudaGetLastError();
}

// Pinned and device memory for the batch; the slot's last copy is over.
void Uploads::Gpu::make_room(Slot& slot, const std::vector<Tensor>& batch) {
  std::int64_t bytes = 0;
  for (const Tensor& x : batch) bytes += x.bytes();
  if (slot.pinned_bytes < bytes) {
    CUDA_CHECK(cudaFreeHost(std::exchange(slot.pinned, nullptr)));
    void* pinned = nullptr;
    CUDA_CHECK(cudaHostAlloc(&pinned, static_cast<std::size_t>(bytes), cudaHostAllocDefault));
    slot.pinned = static_cast<std::byte*>(pinned);
    slot.pinned_bytes = bytes;
  }
  slot.batch.resize(batch.size());
  bool is_new = false;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (slot.batch[i].is_defined() && slot.batch[i].shape() == batch[i].shape() &&
        slot.batch[i].dtype() == batch[i].dtype())
      continue;
    slot.batch[i] = Tensor(batch[i].shape(), batch[i].dtype(), Device::cuda);
    is_new = true;
  }
  // The pool hands out memory in the compute stream's order: its last user may still be queued
  // there.
  if (is_new) CUDA_CHECK(cudaEventRecord(slot.consumed, cuda::compute_stream()));
}

void Uploads::Gpu::push(std::int64_t number, const std::vector<Tensor>& batch) {
  Slot& slot = slot_of(number);
  CUDA_CHECK(cudaEventSynchronize(slot.copied));  // its pinned bytes are read no longer
  make_room(slot, batch);
  CUDA_CHECK(cudaStreamWaitEvent(stream_, slot.consumed));
  std::byte* pinned = slot.pinned;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto bytes = static_cast<std::size_t>(batch[i].bytes());
    if (bytes == 0) continue;
    std::memcpy(pinned, batch[i].raw(), bytes);
    CUDA_CHECK(
        cudaMemcpyAsync(slot.batch[i].raw(), pinned, bytes, cudaMemcpyHostToDevice, stream_));
    pinned += bytes;
  }
  CUDA_CHECK(cudaEventRecord(slot.copied, stream_));
}

std::vector<Tensor> Uploads::Gpu::pop(std::int64_t number) {
  // Whatever reads the batch before has been queued by now.
  if (number > 0) CUDA_CHECK(cudaEventRecord(slot_of(number - 1).consumed, cuda::compute_stream()));
  Slot& slot = slot_of(number);
  CUDA_CHECK(cudaStreamWaitEvent(cuda::compute_stream(), slot.copied));
  return slot.batch;
}

}  // namespace proxent
