// Where a tensor lives. One GPU per process; more GPUs are more processes.
#pragma once

#include <cstdint>
#include <ostream>

namespace proxent {

enum class Device : std::uint8_t { cpu, cuda };
inline std::ostream& operator<<(std::ostream& out, Device device) {
  return out << (device == Device::cpu ? "cpu" : "cuda");
}

// Tags that choose a kernel's overload at compile time.
struct Cpu {};
struct Cuda {};

}  // namespace proxent
