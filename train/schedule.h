// The learning rate as a function of the step: nothing to save, nothing to resume.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace proxent {

struct ScheduleOptions {
  enum class Kind { constant, step, milestones, cosine };
  Kind kind = Kind::cosine;
  double learning_rate = 1e-4;                // the peak
  double min_learning_rate = 0;               // cosine ends here
  std::int64_t total_steps = 1;               // cosine: its end
  std::int64_t warmup_steps = 0;              // linear rise before the peak
  std::int64_t decay_every = 0;               // step: in steps
  std::vector<std::int64_t> milestones = {};  // in steps, rising
  double gamma = 0.1;                         // step, milestones: the factor at each
};

// Throws UsageError naming what is out of range.
void check_schedule(const ScheduleOptions& options);

// The rate of step t = 0, 1, ...:
//   t < warmup:  rate (t + 1) / warmup, so that the peak comes in the last step of the warm-up
//   constant:    rate
//   step:        rate gamma^floor(t / decay_every)          (torch.optim.lr_scheduler.StepLR)
//   milestones:  rate gamma^|{m : m <= t}|                  (MultiStepLR)
//   cosine:      min + (rate - min) (1 + cos(pi (t - warmup) / (total - warmup))) / 2, min from
//                t = total on                               (CosineAnnealingLR)
// Decays count from step 0, warm-up included.
double learning_rate(const ScheduleOptions& options, std::int64_t step);

}  // namespace proxent
