// A span of training that comes round: "every 2 epochs", "every 10 minutes".
#pragma once

#include <cstdint>

#include "train/duration.h"

namespace proxent {

class Every {
 public:
  // `last` is when its turn was last, in seconds of training; it outlives the object.
  Every(const Duration& span, double steps_per_epoch, double& last);
  // Whether a turn has come since the last one, after `step` steps and `seconds` of training.
  bool is_due(std::int64_t step, double seconds);

 private:
  std::int64_t steps_ = 0;  // 0: by time, or never
  double seconds_ = 0;
  double& last_;
};

}  // namespace proxent
