// Which GPU this process computes on, and why it cannot where it cannot. Plain C++: builds without
// CUDA have these functions too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/check.h"
#include "tensor/device.h"

namespace proxent {

// The GPU, its driver or a library of it refused, or a kernel failed. Exit code 4.
struct CudaError : Error {
  using Error::Error;
};

struct Gpu {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  std::int64_t memory_bytes = 0;
};
struct GpuReport {
  bool is_built = false;     // this build has kernels for a GPU
  bool is_emulated = false;  // ... which run on the processor: a build for tests
  std::string built_for;     // their architectures, "80 90"
  int runtime_version = 0;   // 13000 is CUDA 13.0
  int driver_version = 0;    // the newest CUDA that the driver knows; 0 without a driver
  std::vector<Gpu> gpus;
  std::string problem;  // why Device::cuda cannot be used; empty if it can
};
// Looks, and never throws.
GpuReport gpu_report();

// True if code built for `built_for` ("80 90", as CMAKE_CUDA_ARCHITECTURES) runs on a GPU of this
// compute capability: the same major version and no newer minor one, or any newer one through PTX.
// What nvcc chose itself ("native", "all", "all-major") is taken to.
bool has_code_for(const std::string& built_for, int major, int minor);

// From now on Device::cuda is this one. Throws CudaError if there is none of that number, it has no
// code in this build, or another one is in use already. Without a call it is number 0.
void select_gpu(int index);
int selected_gpu();  // its number
// Free and total bytes of its memory, other processes' included. Throws CudaError.
struct GpuMemory {
  std::int64_t free = 0, total = 0;
};
GpuMemory gpu_memory();

// Waits until the device has done all it was told. Nothing to do on the CPU. Throws CudaError.
void synchronize(Device device);
// On: every op on the GPU waits for its kernels, so that an error names the op that caused it.
// Slow, and nothing is recorded as a CUDA graph meanwhile. Off at start, unless the environment has
// CUDA_LAUNCH_BLOCKING=1, which makes CUDA wait as well.
void set_gpu_synchronous(bool is_on);
bool is_gpu_synchronous();
// Kernels launched since the program began; a CUDA graph's count where they were recorded.
std::int64_t gpu_launches();

}  // namespace proxent
