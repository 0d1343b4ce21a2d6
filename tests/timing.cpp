// Times of work on a device: every round counts once, and no wait of the host is in the GPU's.
#include "tensor/timing.h"

#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "tensor/gpu.h"
#include "tensor/pointwise.h"

TEST_SUITE("timing") {
  using namespace proxent;

  TEST_CASE("a median is the middle value, or the mean of the middle two") {
    CHECK(median({3}) == 3);
    CHECK(median({9, 1, 2}) == 2);
    CHECK(median({4, 9, 1, 2}) == 3);
    CHECK_THROWS_WITH_AS(median({}), doctest::Contains("no values"), Error);
  }

  TEST_CASE("a median of some rounds after one that does not count") {
    int runs = 0;
    const RunTimes times = time_runs(Device::cpu, 3, [&] {
      // Of the counted ones 1, 30 and 10 ms; the one before them is the longest.
      constexpr int kMilliseconds[] = {60, 1, 30, 10};
      std::this_thread::sleep_for(std::chrono::milliseconds(kMilliseconds[runs++]));
    });
    CHECK(runs == 4);
    CHECK(times.least >= 1e-3);
    CHECK(times.median >= 10e-3);
    CHECK(times.least <= times.median);
    CHECK_THROWS_WITH_AS(time_runs(Device::cpu, 0, [] {}),
                         doctest::Contains("rounds must be at least 1, got 0"), Error);
  }

  TEST_CASE("kernels are timed on the device they run on") {
    if (const std::string problem = gpu_report().problem; !problem.empty()) {
      MESSAGE("skipped: ", problem);
      return;
    }
    const Tensor x = Tensor::zeros({100'000}, DType::f32, Device::cuda);
    int runs = 0;
    const RunTimes times = time_runs(Device::cuda, 4, [&] {
      ++runs;
      relu(x);
    });
    CHECK(runs == 5);
    CHECK(times.least > 0);
    CHECK(times.median >= times.least);
    CHECK(times.median < 10);
  }
}
