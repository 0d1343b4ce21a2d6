#include "train/profiled_steps.h"

#include <charconv>

#include "tensor/check.h"
#include "tensor/profiler.h"

namespace proxent {

void add_profile_steps(Settings& settings, std::string* text) {
  settings.add("profile_steps", text,
               "let a waiting nsys or ncu collect from step A to step B (docs/profiling.md)",
               {.value = "A:B"});
}

StepRange step_range(const std::string& text) {
  if (text.empty()) return {};
  StepRange range;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, range.first);
  const bool has_colon = first.ec == std::errc() && first.ptr != end && *first.ptr == ':';
  const auto last = has_colon ? std::from_chars(first.ptr + 1, end, range.last) : first;
  check<UsageError>(has_colon && last.ec == std::errc() && last.ptr == end && range.first >= 1 &&
                        range.first <= range.last,
                    "profile-steps: expected A:B, the first and the last step to profile, counted "
                    "from 1, such as 20:22; got '",
                    text, "'");
  return range;
}

void check_profiled(const StepRange& range, Device device) {
  check<UsageError>(range.is_empty() || device == Device::cuda, "profile-steps ", range.first, ":",
                    range.last,
                    ": it starts and stops a profiler of the GPU, and this computes on the CPU; "
                    "use --device cuda, or perf for the CPU");
}

ProfiledSteps::ProfiledSteps(const StepRange& range, Device device, std::int64_t steps)
    : range_(range), device_(device) {
  check_profiled(range, device);
  check<UsageError>(range.is_empty() || range.last <= steps, "profile-steps ", range.first, ":",
                    range.last, ": only ", counted(steps, "step", "steps"), " will be made");
}

void ProfiledSteps::before_step() {
  if (++step_ != range_.first || range_.is_empty()) return;
  start_profiler(device_);
  is_on_ = true;
}

void ProfiledSteps::after_step() {
  if (step_ != range_.last || !is_on_) return;
  stop_profiler(device_);
  is_on_ = false;
}

}  // namespace proxent
