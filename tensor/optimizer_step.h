// One step of an optimizer over flat buffers: every trained value in one row, its gradient and
// moments in rows beside it. The formulas are those of torch.optim.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

// factor, or factor times the one f64 that a tensor in the memory of the values holds when the step
// runs. A captured CUDA graph repeats the factor and looks into the tensor again: what changes from
// step to step stands there.
struct LiveNumber {
  LiveNumber(double factor) : factor(factor) {}
  explicit LiveNumber(Tensor live, double factor = 1) : factor(factor), live(std::move(live)) {}

  double factor;
  Tensor live;
};

// torch.optim.SGD without dampening, elementwise over value x, gradient g and velocity v:
//   g' = gradient_scale g + weight_decay x
//   v  = momentum v + g'          d = g' + momentum v  if is_nesterov, else v (g' without momentum)
//   x -= learning_rate d
// The velocity starts as zeros; without momentum it may be undefined.
struct SgdStep {
  LiveNumber learning_rate = 0;
  double weight_decay = 0;
  double momentum = 0;
  bool is_nesterov = false;
  LiveNumber gradient_scale = 1;  // for clipping by norm; not finite: the step changes nothing
};

// torch.optim.AdamW (torch.optim.Adam unless is_decoupled), with running mean m and square s of g:
//   decoupled: x *= 1 - learning_rate weight_decay, g' = gradient_scale g
//   else:      g' = gradient_scale g + weight_decay x
//   m = beta1 m + (1 - beta1) g'      s = beta2 s + (1 - beta2) g'^2
//   x -= learning_rate / (1 - beta1^step) m / (sqrt(s / (1 - beta2^step)) + epsilon)
struct AdamStep {
  LiveNumber learning_rate = 0;
  double weight_decay = 0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  bool is_decoupled = true;
  LiveNumber step = 1;            // counts from 1
  LiveNumber gradient_scale = 1;  // as SgdStep's
};

// torch.optim.RMSprop, not centred, with running square s of g and velocity v:
//   g' = gradient_scale g + weight_decay x
//   s  = alpha s + (1 - alpha) g'^2
//   v  = momentum v + g' / (sqrt(s) + epsilon)
//   x -= learning_rate v
// Both start as zeros; without momentum the velocity may be undefined.
struct RmspropStep {
  LiveNumber learning_rate = 0;
  double weight_decay = 0;
  double alpha = 0.99, momentum = 0, epsilon = 1e-8;
  LiveNumber gradient_scale = 1;  // as SgdStep's
};

// What a step writes besides, in the same pass over memory: rows as long as the values, each of
// which may be undefined.
struct StepCopies {
  Tensor rounded;  // bf16 or f16: the new values, for layers that multiply in it
  Tensor average;  // += average_share (new value - average), as move_towards
  LiveNumber average_share = 0;
};

// A scale on the loss that keeps the gradients of f16 in range; torch.amp.GradScaler's rule.
struct LossScaling {
  double growth = 2, backoff = 0.5;  // after `interval` finite steps in a row, and after another
  std::int64_t interval = 2000;      // 0: the scale stays, and what is not finite halts, see below
};

// What stands in device memory from step to step: f64, each tensor of one element unless said.
struct StepState {
  Tensor loss;        // of this step, without scale
  Tensor squares;     // (G): sum_of_squares of the gradients of each group of parameters
  Tensor clipped;     // (G): of the gradients after clipping by value; undefined: squares
  Tensor moves;       // (G): 1 for groups that step, 0 for those held still
  Tensor counts;      // (G): steps done
  Tensor loss_scale;  // (3): the scale, finite steps in a row, steps skipped
  Tensor norm;        // of all gradients together, without the loss's scale
  Tensor scale;       // for gradient_scale of the steps above
};

inline constexpr double kNormEpsilon = 1e-6;  // as torch.nn.utils.clip_grad_norm_

namespace kernel {
KERNEL(sgd_step, const SgdStep& step, const Tensor& gradient, Tensor& value, Tensor& velocity,
       StepCopies& copies);
KERNEL(adam_step, const AdamStep& step, const Tensor& gradient, Tensor& value, Tensor& mean,
       Tensor& square, StepCopies& copies);
KERNEL(rmsprop_step, const RmspropStep& step, const Tensor& gradient, Tensor& value,
       Tensor& velocity, Tensor& square, StepCopies& copies);
// sum (f64, one element) = sum of x[i]^2, added in double in an order that depends on x's size
// alone.
KERNEL(sum_of_squares, const Tensor& x, Tensor& sum);
// x += share (target - x).
KERNEL(move_towards, const Tensor& target, const LiveNumber& share, Tensor& x);
KERNEL(decide_step, double clip_norm, const LossScaling& scaling, StepState& state);
}  // namespace kernel

// In place. All tensors of one call but copies.rounded have the same shape and dtype, f32 or f64.
void sgd_step(const SgdStep& step, const Tensor& gradient, Tensor& value, Tensor& velocity,
              StepCopies copies = {});
void adam_step(const AdamStep& step, const Tensor& gradient, Tensor& value, Tensor& mean,
               Tensor& square, StepCopies copies = {});
void rmsprop_step(const RmspropStep& step, const Tensor& gradient, Tensor& value, Tensor& velocity,
                  Tensor& square, StepCopies copies = {});
// |x|^2; not finite if an element is not.
double sum_of_squares(const Tensor& x);
// The same into one f64 on x's device, without waiting for it.
void sum_of_squares(const Tensor& x, Tensor& sum);
// The step of an exponential moving average x with decay 1 - share.
void move_towards(const Tensor& target, const LiveNumber& share, Tensor& x);

// Decides about a step from its gradients, without the host:
//   norm = sqrt(sum of moves squares) / loss scale
//   loss and norm are finite:
//     scale = min(1, clip_norm / (n + 1e-6)) / loss scale, n as norm but of `clipped` (without
//     clip_norm 1 / loss scale); counts += moves; a step in a row more, and the loss scale grows
//     when due
//   one is not:
//     scale = NaN, with which the steps above change nothing; the loss scale shrinks, and a step
//     more was skipped
// With interval 0, a step that was skipped halts: those after it are skipped too, so that the host,
// which learns of it later, finds the weights as they were. It goes on when the host sets the
// number of skipped steps to 0.
void decide_step(double clip_norm, const LossScaling& scaling, StepState& state);

}  // namespace proxent
