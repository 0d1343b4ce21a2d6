// How long a device works, for benchmarks and for choosing engines.
#pragma once

#include <functional>
#include <vector>

#include "tensor/device.h"

namespace proxent {

// The middle value, of an even count the mean of the middle two. Throws Error if there is none.
double median(std::vector<double> values);

struct RunTimes {
  double median = 0, least = 0;  // seconds of one run
};

// Of `rounds` runs after one that is not counted (it loads kernels and chooses engines). On the GPU
// each run begins behind a cleared L2 cache, its time is the GPU's own from the first kernel to the
// last, and run must not wait for them; on the CPU it is wall clock, with the caches as the run
// before left them. Throws Error for rounds below 1, and what run throws.
RunTimes time_runs(Device device, int rounds, const std::function<void()>& run);

}  // namespace proxent
