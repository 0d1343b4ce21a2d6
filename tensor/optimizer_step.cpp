#include "tensor/optimizer_step.h"

#include <utility>

namespace proxent {
namespace {

void check_number(std::string_view op, std::string_view name, const LiveNumber& number,
                  Device device) {
  const Tensor& live = number.live;
  check(!live.is_defined() ||
            (live.numel() == 1 && live.dtype() == DType::f64 && live.device() == device),
        op, ": ", name, " must be one f64 on ", device, ", got ", live, " on ", live.device());
}

void check_copies(std::string_view op, const StepCopies& copies, const Tensor& value) {
  const Tensor& rounded = copies.rounded;
  check(!rounded.is_defined() || (rounded.shape() == value.shape() && is_half(rounded.dtype()) &&
                                  rounded.device() == value.device()),
        op, ": rounded must be ", value.shape(), " bf16 or f16 on ", value.device(), ", got ",
        rounded, " on ", rounded.device());
  if (copies.average.is_defined()) check_same(op, copies.average, value);
  check_number(op, "average_share", copies.average_share, value.device());
}

// After a step, for whoever saw the old values.
void mark_edited(Tensor& value, StepCopies& copies) {
  for (Tensor* tensor : {&value, &copies.rounded, &copies.average})
    if (tensor->is_defined()) tensor->mark_edited();
}

}  // namespace

void sgd_step(const SgdStep& step, const Tensor& gradient, Tensor& value, Tensor& velocity,
              StepCopies copies) {
  constexpr std::string_view op = "sgd_step";
  check_same(op, gradient, value);
  if (step.momentum != 0) check_same(op, velocity, value);
  check_number(op, "learning_rate", step.learning_rate, value.device());
  check_number(op, "gradient_scale", step.gradient_scale, value.device());
  check_copies(op, copies, value);
  launch(op, value.device(),
         [&](auto device) { kernel::sgd_step(device, step, gradient, value, velocity, copies); });
  mark_edited(value, copies);
}

void adam_step(const AdamStep& step, const Tensor& gradient, Tensor& value, Tensor& mean,
               Tensor& square, StepCopies copies) {
  constexpr std::string_view op = "adam_step";
  check_same(op, gradient, value);
  check_same(op, mean, value);
  check_same(op, square, value);
  check(step.step.live.is_defined() || step.step.factor >= 1, "adam_step: steps count from 1, got ",
        step.step.factor);
  check_number(op, "step", step.step, value.device());
  check_number(op, "learning_rate", step.learning_rate, value.device());
  check_number(op, "gradient_scale", step.gradient_scale, value.device());
  check_copies(op, copies, value);
  launch(op, value.device(), [&](auto device) {
    kernel::adam_step(device, step, gradient, value, mean, square, copies);
  });
  mark_edited(value, copies);
}

void rmsprop_step(const RmspropStep& step, const Tensor& gradient, Tensor& value, Tensor& velocity,
                  Tensor& square, StepCopies copies) {
  constexpr std::string_view op = "rmsprop_step";
  check_same(op, gradient, value);
  if (step.momentum != 0) check_same(op, velocity, value);
  check_same(op, square, value);
  check_number(op, "learning_rate", step.learning_rate, value.device());
  check_number(op, "gradient_scale", step.gradient_scale, value.device());
  check_copies(op, copies, value);
  launch(op, value.device(), [&](auto device) {
    kernel::rmsprop_step(device, step, gradient, value, velocity, square, copies);
  });
  mark_edited(value, copies);
}

double sum_of_squares(const Tensor& x) {
  Tensor sum({}, DType::f64, x.device());
  sum_of_squares(x, sum);
  return sum.item();
}

void sum_of_squares(const Tensor& x, Tensor& sum) {
  check(sum.numel() == 1 && sum.dtype() == DType::f64 && sum.device() == x.device(),
        "sum_of_squares: sum must be one f64 on ", x.device(), ", got ", sum, " on ", sum.device());
  launch("sum_of_squares", x.device(),
         [&](auto device) { kernel::sum_of_squares(device, x, sum); });
}

void move_towards(const Tensor& target, const LiveNumber& share, Tensor& x) {
  check_same("move_towards", target, x);
  check_number("move_towards", "share", share, x.device());
  launch("move_towards", x.device(),
         [&](auto device) { kernel::move_towards(device, target, share, x); });
  x.mark_edited();
}

void decide_step(double clip_norm, const LossScaling& scaling, StepState& state) {
  constexpr std::string_view op = "decide_step";
  const auto check_f64 = [&](std::string_view name, const Tensor& tensor, std::int64_t numel) {
    check(tensor.numel() == numel && tensor.dtype() == DType::f64 &&
              tensor.device() == state.squares.device(),
          op, ": ", name, " must be ", numel, " f64 on ", state.squares.device(), ", got ", tensor,
          " on ", tensor.device());
  };
  const std::int64_t groups = state.squares.numel();
  check_f64("squares", state.squares, groups);
  if (state.clipped.is_defined()) check_f64("clipped", state.clipped, groups);
  check_f64("moves", state.moves, groups);
  check_f64("counts", state.counts, groups);
  check_f64("loss", state.loss, 1);
  check_f64("norm", state.norm, 1);
  check_f64("scale", state.scale, 1);
  check_f64("loss_scale", state.loss_scale, 3);
  check(clip_norm >= 0, op, ": clip_norm must be 0 (off) or above, got ", clip_norm);
  launch(op, state.squares.device(),
         [&](auto device) { kernel::decide_step(device, clip_norm, scaling, state); });
}

}  // namespace proxent
