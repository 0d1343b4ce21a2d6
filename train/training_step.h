// One optimizer step: forward, backward, update; and the search for the culprit when a number is
// not finite.
#pragma once

#include <functional>

#include "autograd/variable.h"
#include "train/optimizer.h"

namespace proxent {

struct StepResult {
  double loss = 0;
  double gradient_norm = 0;  // before clipping
};

// Runs `loss` under a tape and steps the optimizer. If the loss or a gradient is not finite,
// nothing is updated: forward and backward run once more with every tensor checked, and the
// NonFiniteError names the first op whose result or gradient is not finite, and its module.
StepResult training_step(const std::function<Variable()>& loss, Optimizer& optimizer,
                         double learning_rate);

}  // namespace proxent
