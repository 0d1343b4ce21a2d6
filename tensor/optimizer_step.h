// One step of an optimizer over flat buffers: every trained value in one row, its gradient and
// moments in rows beside it. The formulas are those of torch.optim.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

// torch.optim.SGD without dampening, elementwise over value x, gradient g and velocity v:
//   g' = gradient_scale g + weight_decay x
//   v  = momentum v + g'          d = g' + momentum v  if is_nesterov, else v (g' without momentum)
//   x -= learning_rate d
// The velocity starts as zeros; without momentum it may be undefined.
struct SgdStep {
  double learning_rate = 0;
  double weight_decay = 0;
  double momentum = 0;
  bool is_nesterov = false;
  double gradient_scale = 1;  // for clipping by norm
};

// torch.optim.AdamW (torch.optim.Adam unless is_decoupled), with running mean m and square s of g:
//   decoupled: x *= 1 - learning_rate weight_decay, g' = gradient_scale g
//   else:      g' = gradient_scale g + weight_decay x
//   m = beta1 m + (1 - beta1) g'      s = beta2 s + (1 - beta2) g'^2
//   x -= learning_rate / (1 - beta1^step) m / (sqrt(s / (1 - beta2^step)) + epsilon)
struct AdamStep {
  double learning_rate = 0;
  double weight_decay = 0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  bool is_decoupled = true;
  std::int64_t step = 1;  // counts from 1
  double gradient_scale = 1;
};

namespace kernel {
KERNEL(sgd_step, const SgdStep& step, const Tensor& gradient, Tensor& value, Tensor& velocity);
KERNEL(adam_step, const AdamStep& step, const Tensor& gradient, Tensor& value, Tensor& mean,
       Tensor& square);
// sum (f64, one element) = sum of x[i]^2, added in double in an order that depends on x's size
// alone.
KERNEL(sum_of_squares, const Tensor& x, Tensor& sum);
// x += share (target - x).
KERNEL(move_towards, const Tensor& target, double share, Tensor& x);
}  // namespace kernel

// In place. All tensors of one call have the same shape and dtype, f32 or f64.
void sgd_step(const SgdStep& step, const Tensor& gradient, Tensor& value, Tensor& velocity);
void adam_step(const AdamStep& step, const Tensor& gradient, Tensor& value, Tensor& mean,
               Tensor& square);
// |x|^2; not finite if an element is not.
double sum_of_squares(const Tensor& x);
// The step of an exponential moving average x with decay 1 - share.
void move_towards(const Tensor& target, double share, Tensor& x);

}  // namespace proxent
