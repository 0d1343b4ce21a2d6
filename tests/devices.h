// The devices that a test can run on.
#pragma once

#include <functional>

#include "tensor/allocator.h"
#include "tensor/device.h"

namespace proxent {

// True where the GPU, or its emulation, can be used; says that the test is skipped where it cannot.
bool has_gpu();

// While it lives, fresh tensors of the device read as NaN and have canaries behind them.
struct MemoryGuard {
  explicit MemoryGuard(Device device) : device(device) { set_memory_guard(device, true); }
  ~MemoryGuard() { set_memory_guard(device, false); }
  Device device;
};

// While it lives, the device's pool may hold so many bytes more than its tensors do now.
struct MemoryLimit {
  MemoryLimit(Device device, std::int64_t more) : device(device) {
    release_cached_memory(device);
    set_memory_limit(device, memory_report(device).in_use + more);
  }
  ~MemoryLimit() { set_memory_limit(device, 0); }
  Device device;
};

// Calls test() for the CPU, and for the GPU where there is one; for its emulation several times,
// each with another order of the threads. All under a MemoryGuard.
void on_every_device(const std::function<void(Device)>& test);

}  // namespace proxent
