#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/check.h"

namespace proxent {

void check_schedule(const ScheduleOptions& options) {
  using Kind = ScheduleOptions::Kind;
  check<UsageError>(std::isfinite(options.learning_rate) && options.learning_rate >= 0,
                    "schedule: the learning rate must be 0 or above, got ", options.learning_rate);
  check<UsageError>(
      options.min_learning_rate >= 0 && options.min_learning_rate <= options.learning_rate,
      "schedule: the least learning rate must be between 0 and ", options.learning_rate, ", got ",
      options.min_learning_rate);
  check<UsageError>(options.warmup_steps >= 0, "schedule: warm-up must be 0 or more steps, got ",
                    options.warmup_steps);
  check<UsageError>(options.kind != Kind::step || options.decay_every >= 1,
                    "schedule: the rate must decay every 1 or more steps, got ",
                    options.decay_every);
  check<UsageError>(options.kind != Kind::cosine || options.total_steps >= 1,
                    "schedule: cosine needs 1 or more steps in total, got ", options.total_steps);
  check<UsageError>(std::is_sorted(options.milestones.begin(), options.milestones.end()),
                    "schedule: milestones must rise");
  const bool uses_gamma = options.kind == Kind::step || options.kind == Kind::milestones;
  check<UsageError>(!uses_gamma || (options.gamma > 0 && options.gamma <= 1),
                    "schedule: gamma must be in (0, 1], got ", options.gamma);
}

double learning_rate(const ScheduleOptions& options, std::int64_t step) {
  const double peak = options.learning_rate;
  if (step < options.warmup_steps)
    return peak * static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  switch (options.kind) {
    case ScheduleOptions::Kind::constant:
      return peak;
    case ScheduleOptions::Kind::step: {
      const std::int64_t decays = step / options.decay_every;
      return peak * std::pow(options.gamma, static_cast<double>(decays));
    }
    case ScheduleOptions::Kind::milestones: {
      const auto passed =
          std::upper_bound(options.milestones.begin(), options.milestones.end(), step) -
          options.milestones.begin();
      return peak * std::pow(options.gamma, static_cast<double>(passed));
    }
    case ScheduleOptions::Kind::cosine:
      break;
  }
  if (step >= options.total_steps) return options.min_learning_rate;
  const double share = static_cast<double>(step - options.warmup_steps) /
                       static_cast<double>(options.total_steps - options.warmup_steps);
  return options.min_learning_rate +
         (peak - options.min_learning_rate) * (1 + std::cos(std::numbers::pi * share)) / 2;
}

}  // namespace proxent
