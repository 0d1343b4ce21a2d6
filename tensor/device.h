// Where a tensor lives. One GPU per process; more GPUs are more processes. On `meta` nothing is
// stored and nothing computed: a step run there tells what it would allocate (as PyTorch's device
// of that name).
#pragma once

#include <cstdint>
#include <ostream>

namespace proxent {

enum class Device : std::uint8_t { cpu, cuda, meta };
inline std::ostream& operator<<(std::ostream& out, Device device) {
  return out << (device == Device::cpu ? "cpu" : device == Device::cuda ? "cuda" : "meta");
}

// Tags that choose a kernel's overload at compile time.
struct Cpu {};
struct Cuda {};
struct Meta {};  // of memory alone: kernels have no such overload, launch() passes them by

}  // namespace proxent
