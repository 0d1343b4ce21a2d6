#include "train/training_step.h"

#include <cmath>

#include "autograd/tape.h"

namespace proxent {
namespace {

StepResult attempt(const std::function<Variable()>& loss, Optimizer& optimizer,
                   double learning_rate) {
  Tape tape;
  const Variable value = loss();
  StepResult result{.loss = value.value().item()};
  check<NonFiniteError>(std::isfinite(result.loss), "the loss is ", result.loss);
  tape.backward(value);
  result.gradient_norm = optimizer.step(learning_rate).gradient_norm;
  return result;
}

// Throws for the first tensor that is not finite. Returns only if the second run does not fail like
// the first.
void find_culprit(const std::function<Variable()>& loss) {
  Tape tape({.has_nan_guard = true});
  tape.backward(loss());
}

}  // namespace

StepResult training_step(const std::function<Variable()>& loss, Optimizer& optimizer,
                         double learning_rate) {
  optimizer.zero_gradients();
  try {
    return attempt(loss, optimizer, learning_rate);
  } catch (const NonFiniteError&) {
    optimizer.zero_gradients();
    find_culprit(loss);
    throw;
  }
}

}  // namespace proxent
