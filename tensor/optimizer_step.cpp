#include "tensor/optimizer_step.h"

namespace proxent {

void sgd_step(const SgdStep& step, const Tensor& gradient, Tensor& value, Tensor& velocity) {
  check_same("sgd_step", gradient, value);
  if (step.momentum != 0) check_same("sgd_step", velocity, value);
  launch("sgd_step", value.device(),
         [&](auto device) { kernel::sgd_step(device, step, gradient, value, velocity); });
  value.mark_edited();
}

void adam_step(const AdamStep& step, const Tensor& gradient, Tensor& value, Tensor& mean,
               Tensor& square) {
  check_same("adam_step", gradient, value);
  check_same("adam_step", mean, value);
  check_same("adam_step", square, value);
  check(step.step >= 1, "adam_step: steps count from 1, got ", step.step);
  launch("adam_step", value.device(),
         [&](auto device) { kernel::adam_step(device, step, gradient, value, mean, square); });
  value.mark_edited();
}

double sum_of_squares(const Tensor& x) {
  Tensor sum({}, DType::f64, x.device());
  launch("sum_of_squares", x.device(),
         [&](auto device) { kernel::sum_of_squares(device, x, sum); });
  return sum.item();
}

void move_towards(const Tensor& target, double share, Tensor& x) {
  check_same("move_towards", target, x);
  launch("move_towards", x.device(),
         [&](auto device) { kernel::move_towards(device, target, share, x); });
  x.mark_edited();
}

}  // namespace proxent
