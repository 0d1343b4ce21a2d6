// The devices that a test can run on: the CPU, and the GPU or its emulation where there is one.
#pragma once

#include <vector>

#include "tensor/gpu.h"

namespace proxent {

inline std::vector<Device> devices() {
  std::vector<Device> all = {Device::cpu};
  if (gpu_report().problem.empty()) all.push_back(Device::cuda);
  return all;
}

}  // namespace proxent
