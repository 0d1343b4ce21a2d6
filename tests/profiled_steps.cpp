// --profile-steps: which texts are ranges, and when the profiler is on.
#include "train/profiled_steps.h"

#include <doctest/doctest.h>

#include "tensor/check.h"
#include "tensor/gpu.h"
#include "tensor/profiler.h"

TEST_SUITE("profiled steps") {
  using namespace proxent;

  // Which of `steps` steps run while the profiler collects.
  std::vector<std::int64_t> collected(const StepRange& range, Device device, std::int64_t steps) {
    ProfiledSteps profiled(range, device, steps);
    std::vector<std::int64_t> found;
    for (std::int64_t step = 1; step <= steps; ++step) {
      profiled.before_step();
      if (profiled.is_on()) found.push_back(step);
      profiled.after_step();
    }
    CHECK_FALSE(profiled.is_on());
    return found;
  }

  TEST_CASE("a range is two numbers from 1 in order, and nothing else") {
    CHECK(step_range("").is_empty());
    CHECK(step_range("20:22").first == 20);
    CHECK(step_range("20:22").last == 22);
    CHECK(step_range("1:1").last == 1);
    for (const char* text : {":", "3", "3:", ":3", "0:3", "4:3", "-1:3", "1:2:3", "a:b", "1:2 ",
                             " 1:2", "1-2", "1:99999999999999999999"}) {
      INFO(text);
      CHECK_THROWS_WITH_AS(step_range(text),
                           doctest::Contains("expected A:B, the first and the last step"),
                           UsageError);
    }
  }

  TEST_CASE("on the CPU there is nothing to start, and a range is refused") {
    CHECK(collected({}, Device::cpu, 4).empty());
    CHECK_THROWS_WITH_AS(ProfiledSteps({2, 3}, Device::cpu, 4),
                         doctest::Contains("and this computes on the CPU"), UsageError);
    start_profiler(Device::cpu);
    stop_profiler(Device::cpu);
  }

  TEST_CASE("steps A to B are collected, both included") {
    CHECK_THROWS_WITH_AS(ProfiledSteps({2, 5}, Device::cuda, 4),
                         doctest::Contains("profile-steps 2:5: only 4 steps will be made"),
                         UsageError);
    if (const std::string problem = gpu_report().problem; !problem.empty()) {
      MESSAGE("skipped: ", problem);
      return;
    }
    CHECK(collected({2, 3}, Device::cuda, 5) == std::vector<std::int64_t>{2, 3});
    CHECK(collected({1, 1}, Device::cuda, 3) == std::vector<std::int64_t>{1});
    CHECK(collected({1, 3}, Device::cuda, 3) == std::vector<std::int64_t>{1, 2, 3});
    CHECK(collected({}, Device::cuda, 3).empty());
  }
}
