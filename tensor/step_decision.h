// The arithmetic of decide_step (tensor/optimizer_step.h), once for all devices: a dozen numbers.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "tensor/device_code.h"
#include "tensor/optimizer_step.h"

namespace proxent {

// StepState's rows.
struct StepNumbers {
  const double *loss, *squares, *clipped, *moves;
  double *counts, *loss_scale, *norm, *scale;
  std::int64_t groups;
};

PROXENT_DEVICE_CODE inline void decide(double clip_norm, const LossScaling& scaling,
                                       const StepNumbers& state) {
  // NOLINTBEGIN(*NullDereference): clang-tidy does not see that decide_step checks its tensors
  double &unit = state.loss_scale[0], &in_a_row = state.loss_scale[1],
         &skipped = state.loss_scale[2];
  double sum = 0, clipped = 0;
  for (std::int64_t i = 0; i < state.groups; ++i) {
    if (state.moves[i] == 0) continue;
    sum += state.squares[i];
    clipped += state.clipped[i];
  }
  const double norm = std::sqrt(sum) / unit, clipped_norm = std::sqrt(clipped) / unit;
  const bool is_scaled = scaling.interval > 0;
  const bool is_step =
      std::isfinite(norm) && std::isfinite(*state.loss) && (is_scaled || skipped == 0);
  const double clip = clip_norm / (clipped_norm + kNormEpsilon);
  *state.norm = norm;
  *state.scale = !is_step                    ? std::numeric_limits<double>::quiet_NaN()
                 : clip_norm > 0 && clip < 1 ? clip / unit
                                             : 1 / unit;
  for (std::int64_t i = 0; is_step && i < state.groups; ++i) state.counts[i] += state.moves[i];
  // NOLINTEND(*NullDereference)
  if (!is_step) skipped += 1;
  if (!is_scaled) return;
  in_a_row = is_step ? in_a_row + 1 : 0;
  if (!is_step) unit *= scaling.backoff;
  if (in_a_row < static_cast<double>(scaling.interval)) return;
  unit *= scaling.growth;
  in_a_row = 0;
}

}  // namespace proxent
