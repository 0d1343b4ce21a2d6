// The one door to a device: KERNEL declares what every device must define, launch() calls it.
#pragma once

#include <string_view>
#include <utility>

#include "tensor/check.h"
#include "tensor/device.h"

// Declares one kernel for every device, so that signatures cannot drift; a definition that is
// missing is a link error. Kernels trust their arguments: the functions that launch them have
// checked everything.
#define KERNEL(name, ...)      \
  void name(Cpu, __VA_ARGS__); \
  void name(Cuda, __VA_ARGS__)

namespace proxent {

// Runs call(Cpu{}) or call(Cuda{}) inside a Scope of that name. The Cuda branch exists only where
// a build defines PROXENT_CUDA.
template <class Call>
void launch(std::string_view name, Device device, Call&& call) {
  Scope scope(name);
#ifdef PROXENT_CUDA
  if (device == Device::cuda) return std::forward<Call>(call)(Cuda{});
#endif
  check(device == Device::cpu, name, ": this build has no CUDA; the tensor is on ", device);
  std::forward<Call>(call)(Cpu{});
}

}  // namespace proxent
