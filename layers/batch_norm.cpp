#include "layers/batch_norm.h"

namespace proxent {
namespace {
constexpr int kMostPasses = 2;  // to make an output again: of three blocks one keeps its own
}

BatchNorm2d::BatchNorm2d(Module* parent, std::string name, std::int64_t channels)
    : Module(parent, std::move(name)),
      weight(this, "weight", Role::norm, initial_tensor({channels}, 1)),
      bias(this, "bias", Role::norm, initial_tensor({channels})),
      running_mean(this, "running_mean", initial_tensor({channels})),
      running_var(this, "running_var", initial_tensor({channels}, 1)) {}

void BatchNorm2d::initialize(Philox) {
  weight.mutable_value().fill(1);
  bias.mutable_value().fill(0);
  running_mean.mutable_value().fill(0);
  running_var.mutable_value().fill(1);
}

void BatchNorm2d::set_mode(BatchNormMode mode) {
  mode_ = mode;
  weight.set_trained(mode != BatchNormMode::frozen);
  bias.set_trained(mode != BatchNormMode::frozen);
}

Variable BatchNorm2d::with_relu(const Variable& x) { return with_what_follows(x, {}); }

Variable BatchNorm2d::add_relu(const Variable& x, const Variable& residual) {
  return with_what_follows(x, residual);
}

// As Module::operator() around forward().
Variable BatchNorm2d::with_what_follows(const Variable& x, const Variable& residual) {
  Scope scope(name());
  Variable y = normalize(x, residual, true);
  ModuleObserver::tell({.module = *this,
                        .x = x,
                        .y = y,
                        .has_relu = true,
                        .has_residual = residual.value().is_defined()});
  return y;
}

Variable BatchNorm2d::normalize(const Variable& x, const Variable& residual, bool has_relu) {
  const bool uses_batch = is_training() && mode_ == BatchNormMode::train;
  // They have followed this batch already when its values are computed again.
  Tensor none;
  const bool keeps_running = uses_batch && is_recomputing();
  Tensor& mean = keeps_running ? none : running_mean.mutable_value();
  Tensor& variance = keeps_running ? none : running_var.mutable_value();
  return batch_norm(x, weight, bias, mean, variance,
                    {.uses_batch_statistics = uses_batch,
                     .has_relu = has_relu,
                     .is_remade = remakes_output_ && residual.passes_to_remake() < kMostPasses},
                    residual);
}

void set_batch_norm_mode(Module& root, BatchNormMode mode) {
  for (const auto& [path, module] : root.modules())
    if (auto* norm = dynamic_cast<BatchNorm2d*>(module)) norm->set_mode(mode);
}

}  // namespace proxent
