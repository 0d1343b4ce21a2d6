// Which of several engines is fastest for one call, found by running them.
#pragma once

#include <cstddef>
#include <functional>

namespace proxent::cuda {

// True while the compute stream records a CUDA graph: then nothing can be timed.
bool is_capturing();

// Runs each of `count` candidates on the compute stream, first once and then several times behind a
// cleared L2 cache, and returns the one with the least median time. All must write the same result.
// A candidate that throws is left out, but CudaError, after which the device is lost, is passed on;
// so is the last error if no candidate runs.
std::size_t fastest_of(std::size_t count, const std::function<void(std::size_t)>& run);

}  // namespace proxent::cuda
