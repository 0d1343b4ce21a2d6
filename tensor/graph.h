// Work of the device that is recorded once and repeated with one call: a CUDA graph.
#pragma once

#include <functional>
#include <memory>

#include "tensor/device.h"
#include "tensor/gpu.h"

namespace proxent {

// Kernels with their arguments as they were when recorded: what changes from one run to the next
// must stand in the device's memory. What the work allocates belongs to the recording: it keeps its
// address, and the pool gives it to nobody else as long as this object or a tensor in it lives.
// Nothing in the work may wait for the device or look at what it computes.
class RecordedWork {
 public:
  // True where work can be recorded: on the GPU, unless every op waits there
  // (set_gpu_synchronous).
  static bool is_possible(Device device) { return device == Device::cuda && !is_gpu_synchronous(); }

  // Records what work() tells the GPU to do; nothing of it is done yet. Everything that it prepares
  // only once (a library's plans and scratch memory) must have been used before. Throws CudaError
  // where the work waits for the device, and what work() throws. give_up is MemoryReserve's: called
  // where the GPU's memory is wanted for something else, it should destroy this object.
  explicit RecordedWork(const std::function<void()>& work, std::function<void()> give_up = {});
  ~RecordedWork();
  RecordedWork(const RecordedWork&) = delete;
  RecordedWork& operator=(const RecordedWork&) = delete;

  // Queues it all, as if work() had been called.
  void run();

 private:
  class Gpu;  // tensor/cuda/graph.cpp
  std::unique_ptr<Gpu> gpu_;
};

}  // namespace proxent
