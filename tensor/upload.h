// Batches on their way to the device while it computes.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

// A queue of batches: pushed as CPU tensors, popped as tensors on `device`. On the GPU a batch is
// copied to pinned memory, from there by a stream of its own into one of two slots of device
// memory; events keep the two streams in order, and the host waits only for a slot of pinned memory
// that is still being read. On the CPU a batch is what was pushed.
class Uploads {
 public:
  static constexpr int kSlots = 2;

  explicit Uploads(Device device);
  ~Uploads();
  Uploads(const Uploads&) = delete;
  Uploads& operator=(const Uploads&) = delete;

  // Starts a batch of CPU tensors on its way. Afterwards they may change, unless the device is the
  // CPU. Throws Error if all slots are taken, or one of the tensors is not on the CPU.
  void push(std::vector<Tensor> batch);
  // The batch that was pushed first. It keeps its slot until the next pop(), by when all that reads
  // it must have been queued. Throws Error if none is waiting.
  std::vector<Tensor> pop();
  // Batches pushed and not popped.
  int waiting() const { return static_cast<int>(pushed_ - popped_); }
  // True if a slot is free for push().
  bool has_room() const { return pushed_ - (popped_ > 0 ? popped_ - 1 : 0) < kSlots; }

 private:
  class Gpu;  // tensor/cuda/upload.h
  std::int64_t pushed_ = 0, popped_ = 0;
  std::deque<std::vector<Tensor>> batches_;  // of the CPU
  std::unique_ptr<Gpu> gpu_;
};

}  // namespace proxent
