#include "train/schedule.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tensor/check.h"

namespace proxent {
namespace {

using Kind = ScheduleOptions::Kind;

TEST_SUITE("schedule") {
  TEST_CASE("warm-up rises evenly and reaches the peak in its last step") {
    const ScheduleOptions options{.kind = Kind::constant, .learning_rate = 2, .warmup_steps = 4};
    CHECK(learning_rate(options, 0) == 0.5);
    CHECK(learning_rate(options, 1) == 1.0);
    CHECK(learning_rate(options, 3) == 2.0);
    CHECK(learning_rate(options, 4) == 2.0);
    CHECK(learning_rate(options, 1'000'000) == 2.0);
    CHECK(learning_rate({.kind = Kind::constant, .learning_rate = 3}, 0) == 3.0);
  }

  TEST_CASE("step decays every so many steps, counted from the start") {
    const ScheduleOptions options{
        .kind = Kind::step, .learning_rate = 1, .warmup_steps = 2, .decay_every = 10, .gamma = 0.5};
    CHECK(learning_rate(options, 0) == 0.5);
    CHECK(learning_rate(options, 9) == 1.0);
    CHECK(learning_rate(options, 10) == 0.5);
    CHECK(learning_rate(options, 19) == 0.5);
    CHECK(learning_rate(options, 30) == 0.125);
  }

  TEST_CASE("milestones decay at each one") {
    const ScheduleOptions options{
        .kind = Kind::milestones, .learning_rate = 1, .milestones = {3, 5}, .gamma = 0.25};
    CHECK(learning_rate(options, 2) == 1.0);
    CHECK(learning_rate(options, 3) == 0.25);
    CHECK(learning_rate(options, 4) == 0.25);
    CHECK(learning_rate(options, 5) == 0.0625);
  }

  TEST_CASE("cosine falls from the peak after warm-up to the least rate at the end") {
    const ScheduleOptions options{.kind = Kind::cosine,
                                  .learning_rate = 1,
                                  .min_learning_rate = 0.1,
                                  .total_steps = 110,
                                  .warmup_steps = 10};
    CHECK(learning_rate(options, 9) == 1.0);
    CHECK(learning_rate(options, 10) == 1.0);
    CHECK(learning_rate(options, 60) == doctest::Approx(0.55).epsilon(1e-12));
    CHECK(learning_rate(options, 35) ==
          doctest::Approx(0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2).epsilon(1e-12));
    CHECK(learning_rate(options, 110) == 0.1);
    CHECK(learning_rate(options, 1000) == 0.1);
    for (std::int64_t step = 10; step < 110; ++step)
      CHECK(learning_rate(options, step) > learning_rate(options, step + 1));
  }

  TEST_CASE("a run shorter than its warm-up only rises") {
    const ScheduleOptions options{
        .kind = Kind::cosine, .learning_rate = 1, .total_steps = 5, .warmup_steps = 10};
    CHECK(learning_rate(options, 4) == 0.5);
    CHECK(learning_rate(options, 10) == 0.0);
  }

  TEST_CASE("options out of range are refused by name") {
    const auto complaint = [](const ScheduleOptions& options) -> std::string {
      try {
        check_schedule(options);
        return "";
      } catch (const UsageError& error) {
        return error.message();
      }
    };
    CHECK(complaint({}) == "");
    CHECK(complaint({.learning_rate = -1}) ==
          "schedule: the learning rate must be 0 or above, got -1");
    CHECK(complaint({.learning_rate = NAN}) ==
          "schedule: the learning rate must be 0 or above, got nan");
    CHECK(complaint({.learning_rate = 1, .min_learning_rate = 2}) ==
          "schedule: the least learning rate must be between 0 and 1, got 2");
    CHECK(complaint({.warmup_steps = -1}) == "schedule: warm-up must be 0 or more steps, got -1");
    CHECK(complaint({.kind = Kind::step}) ==
          "schedule: the rate must decay every 1 or more steps, got 0");
    CHECK(complaint({.total_steps = 0}) ==
          "schedule: cosine needs 1 or more steps in total, got 0");
    CHECK(complaint({.kind = Kind::milestones, .milestones = {5, 3}}) ==
          "schedule: milestones must rise");
    CHECK(complaint({.kind = Kind::milestones, .gamma = 0}) ==
          "schedule: gamma must be in (0, 1], got 0");
  }
}

}  // namespace
}  // namespace proxent
