#include "train/every.h"

#include <algorithm>

namespace proxent {

Every::Every(const Duration& span, double steps_per_epoch, double& last) : last_(last) {
  if (span.is_time())
    seconds_ = span.amount;
  else if (!span.is_zero())
    steps_ = std::max<std::int64_t>(1, span.steps(steps_per_epoch));
}

bool Every::is_due(std::int64_t step, double seconds) {
  if (steps_ > 0) return step % steps_ == 0;
  if (seconds_ == 0 || seconds - last_ < seconds_) return false;
  last_ = seconds;
  return true;
}

}  // namespace proxent
