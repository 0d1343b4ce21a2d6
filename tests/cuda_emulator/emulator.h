// Runs CUDA kernels on the processor, so that the sources that nvcc compiles can be tested without
// a GPU: compiled as C++ with this folder first on the include path, <cuda_runtime.h> is the one
// here. Blocks run one after the other; a block's threads are fibers that switch where threads wait
// for each other. It finds wrong indices and formulas, barriers that are missing (results differ
// between orders) or divergent, lanes that a shuffle misses. It does not find races between blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace cuda_emulator {

// In which order blocks, and the threads of a block between two barriers, take their turns. A
// kernel whose result depends on it has a race.
enum class Order { forward, reverse, shuffled };
void set_order(Order order, std::uint64_t seed = 0);

// When a stream does what it is told: at once, or as late as it may, when somebody waits for it.
// What differs between the two lacks an event or a wait.
enum class Streams { at_once, late };
void set_streams(Streams streams);

struct Extent {
  unsigned x = 1, y = 1, z = 1;
  std::uint64_t count() const { return std::uint64_t{x} * y * z; }
};

struct LaunchShape {
  Extent grid, block;
  std::size_t shared_bytes = 0;  // dynamic shared memory, filled with 0xff before each block
};

// Runs body once per thread, with threadIdx and the others set. Returns what went wrong, empty if
// nothing did: which thread of which block waited for what, where.
std::string run_kernel(const LaunchShape& shape, const std::function<void()>& body);

// Kernels run and threads started since the program began.
struct Counters {
  std::int64_t launches = 0, threads = 0;
};
Counters counters();

}  // namespace cuda_emulator
