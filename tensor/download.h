// Numbers on their way to the host while the device computes on.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "tensor/tensor.h"

namespace proxent {

// A queue of small tensors: pushed on `device`, popped on the CPU. A push on the GPU is one copy to
// pinned memory in the order of the compute stream; only pop() waits, for that copy.
class Downloads {
 public:
  static constexpr int kSlots = 2;

  explicit Downloads(Device device);
  ~Downloads();
  Downloads(const Downloads&) = delete;
  Downloads& operator=(const Downloads&) = delete;

  // What x holds when the work queued so far is done. Throws Error if all slots are taken, or x is
  // elsewhere.
  void push(const Tensor& x);
  // The one that was pushed first, on the CPU. Throws Error if none is waiting.
  Tensor pop();
  // Tensors pushed and not popped.
  int waiting() const { return static_cast<int>(pushed_ - popped_); }

 private:
  class Gpu;  // tensor/cuda/download.h
  Device device_;
  std::int64_t pushed_ = 0, popped_ = 0;
  std::deque<Tensor> tensors_;  // of the CPU
  std::unique_ptr<Gpu> gpu_;
};

}  // namespace proxent
