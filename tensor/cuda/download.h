// The GPU's side of tensor/download.h: slots of pinned memory and the events that fill them.
#pragma once

#include <array>

#include "tensor/cuda/runtime.h"
#include "tensor/download.h"

namespace proxent {

class Downloads::Gpu {
 public:
  Gpu();
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  void push(std::int64_t number, const Tensor& x);
  Tensor pop(std::int64_t number);

 private:
  struct Slot {
    std::byte* pinned = nullptr;
    std::int64_t pinned_bytes = 0;
    Shape shape{0};
    DType dtype = DType::f32;
    cudaEvent_t copied{};  // on the compute stream: `pinned` holds the numbers
  };
  Slot& slot_of(std::int64_t number) { return slots_[static_cast<std::size_t>(number % kSlots)]; }

  std::array<Slot, kSlots> slots_;
};

}  // namespace proxent
