// The one door to a device: KERNEL declares what every device must define, launch() calls it. Only
// tensor/ knows of it: what it compiles to depends on PROXENT_CUDA, which only that library is
// built with.
#pragma once

#include <string_view>
#include <type_traits>
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

namespace detail {
// Throws CudaError if a launch was refused or an earlier kernel failed (tensor/cuda/runtime.cpp).
void finish_cuda_call(std::string_view op);
}  // namespace detail

// call(Cpu{}) or call(Cuda{}). The Cuda branch exists only where a build defines PROXENT_CUDA.
template <class Call>
decltype(auto) on_device(Device device, Call&& call) {
#ifdef PROXENT_CUDA
  if (device == Device::cuda) return std::forward<Call>(call)(Cuda{});
#endif
  check(device == Device::cpu, "this build has no CUDA: cannot use a tensor on ", device);
  return std::forward<Call>(call)(Cpu{});
}

// True for the GPU, false for a device without streams. Throws Error where this build has no GPU.
inline bool has_streams(Device device) {
  if (device != Device::cuda) return false;
  on_device(device, [](auto) {});
  return true;
}

// on_device() for a kernel, inside a Scope of that name. On the GPU the kernel is only queued: what
// goes wrong in it is found by a later call, unless set_gpu_synchronous(true). On Device::meta
// nothing happens.
template <class Call>
void launch(std::string_view name, Device device, Call&& call) {
  Scope scope(name);
  if (device == Device::meta) return;
  on_device(device, std::forward<Call>(call));
#ifdef PROXENT_CUDA
  if (device == Device::cuda) detail::finish_cuda_call(name);
#endif
}

}  // namespace proxent
