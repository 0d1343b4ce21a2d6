// The GPU's side of tensor/upload.h: slots of pinned and of device memory, and the stream between.
#pragma once

#include <array>

#include "tensor/cuda/runtime.h"
#include "tensor/upload.h"

namespace proxent {

class Uploads::Gpu {
 public:
  Gpu();
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  void push(std::int64_t number, const std::vector<Tensor>& batch);
  std::vector<Tensor> pop(std::int64_t number);

 private:
  struct Slot {
    std::byte* pinned = nullptr;
    std::int64_t pinned_bytes = 0;
    std::vector<Tensor> batch;  // in the GPU's memory, kept for the next batch of the same shapes
    cudaEvent_t copied{};       // on the copy stream: `batch` has arrived
    cudaEvent_t consumed{};     // on the compute stream: `batch` may be overwritten
  };
  static void make_room(Slot& slot, const std::vector<Tensor>& batch);
  Slot& slot_of(std::int64_t number) { return slots_[static_cast<std::size_t>(number % kSlots)]; }

  cudaStream_t stream_{};
  std::array<Slot, kSlots> slots_;
};

}  // namespace proxent
