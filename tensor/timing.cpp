#include "tensor/timing.h"

#include <algorithm>
#include <chrono>

#include "tensor/check.h"

namespace proxent {

#ifdef PROXENT_CUDA
namespace cuda {  // tensor/cuda/timing.cpp
std::vector<double> seconds_of_runs(int rounds, const std::function<void()>& run);
}
#endif

namespace {

std::vector<double> seconds_on_cpu(int rounds, const std::function<void()>& run) {
  std::vector<double> seconds;
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return seconds;
}

std::vector<double> seconds_of_runs(Device device, int rounds, const std::function<void()>& run) {
#ifdef PROXENT_CUDA
  if (device == Device::cuda) return cuda::seconds_of_runs(rounds, run);
#endif
  check(device == Device::cpu, "time_runs: this build has no CUDA");
  return seconds_on_cpu(rounds, run);
}

}  // namespace

double median(std::vector<double> values) {
  check(!values.empty(), "median: there are no values");
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

RunTimes time_runs(Device device, int rounds, const std::function<void()>& run) {
  check(rounds >= 1, "time_runs: rounds must be at least 1, got ", rounds);
  run();
  const std::vector<double> seconds = seconds_of_runs(device, rounds, run);
  return {.median = median(seconds), .least = *std::min_element(seconds.begin(), seconds.end())};
}

}  // namespace proxent
