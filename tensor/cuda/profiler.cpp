// For Nsight Systems and Nsight Compute: an NVTX range per Scope, and the span of the program that
// they collect. Without a profiler attached each costs a call.
#include "tensor/profiler.h"

#include <cuda_profiler_api.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <array>

#include "tensor/check.h"
#include "tensor/cuda/runtime.h"

namespace proxent {

void start_profiler(Device device) {
  if (device != Device::cuda) return;
  synchronize(device);
  CUDA_CHECK(cudaProfilerStart());
}
void stop_profiler(Device device) {
  if (device != Device::cuda) return;
  synchronize(device);
  CUDA_CHECK(cudaProfilerStop());
}

}  // namespace proxent

namespace proxent::detail {

void open_profiler_range(std::string_view name) {
  std::array<char, 64> text{};  // NVTX wants a terminating zero; longer names are cut
  std::copy_n(name.data(), std::min(name.size(), text.size() - 1), text.data());
  nvtxRangePushA(text.data());
}
void close_profiler_range() { nvtxRangePop(); }

}  // namespace proxent::detail
