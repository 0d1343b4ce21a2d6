// --profile-steps A:B: the training steps that a waiting GPU profiler collects.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/device.h"
#include "train/settings.h"

namespace proxent {

// Steps `first` to `last`, both included, the first one of the program being 1.
struct StepRange {
  std::int64_t first = 0, last = 0;  // 0: none
  bool is_empty() const { return last == 0; }
};

// The setting `profile_steps`, the text of a range.
void add_profile_steps(Settings& settings, std::string* text);
// "20:22"; an empty text is no step. Throws UsageError for anything else.
StepRange step_range(const std::string& text);
// Throws UsageError if there is a range and `device` is the CPU: to be told before a long start.
void check_profiled(const StepRange& range, Device device);

// Starts the profiler before the first step of a range and stops it after the last. Steps are
// counted by the calls, so a run that goes on from a checkpoint begins at 1 again.
class ProfiledSteps {
 public:
  // Throws UsageError as check_profiled, and if fewer steps than the range's last are to come.
  ProfiledSteps(const StepRange& range, Device device, std::int64_t steps);

  void before_step();
  void after_step();
  bool is_on() const { return is_on_; }  // the profiler collects

 private:
  StepRange range_;
  Device device_;
  std::int64_t step_ = 0;
  bool is_on_ = false;
};

}  // namespace proxent
