#include "train/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "tensor/pointwise.h"

namespace proxent {
namespace {

constexpr double kFirstLossScale = 65536;  // as torch.amp.GradScaler's

// The part, factor and decay of one parameter, as a group without members.
ParameterGroup group_for(const Named<Parameter>& parameter, const GroupingOptions& options) {
  const Role role = parameter.item->role();
  if (role == Role::proxies)
    return {"proxies", options.proxy_lr_factor, options.proxy_weight_decay, false, {}};
  const bool is_head =
      std::any_of(options.head_paths.begin(), options.head_paths.end(),
                  [&](const std::string& root) { return is_below(parameter.path, root); });
  const bool has_decay = role == Role::norm   ? options.decays_norms
                         : role == Role::bias ? options.decays_biases
                                              : true;
  const double decay = has_decay ? options.weight_decay : 0;
  return {is_head ? "head" : "backbone",
          is_head ? options.head_lr_factor : 1,
          decay,
          decay != options.weight_decay,
          {}};
}

void check_options(const OptimizerOptions& options) {
  const auto require = [](bool is_met, std::string_view name, std::string_view range,
                          double value) {
    check<UsageError>(is_met, "optimizer: ", name, " must be ", range, ", got ", value);
  };
  const auto is_share = [](double value) { return value >= 0 && value < 1; };
  require(is_share(options.momentum), "momentum", "in [0, 1)", options.momentum);
  require(is_share(options.beta1), "beta1", "in [0, 1)", options.beta1);
  require(is_share(options.beta2), "beta2", "in [0, 1)", options.beta2);
  require(is_share(options.alpha), "alpha", "in [0, 1)", options.alpha);
  require(options.epsilon > 0, "eps", "above 0", options.epsilon);
  require(options.clip_norm >= 0, "clip-norm", "0 (off) or above", options.clip_norm);
  require(options.clip_value >= 0, "clip-value", "0 (off) or above", options.clip_value);
  check<UsageError>(
      !options.loss_scaling || options.clip_value == 0,
      "optimizer: clip-value cannot bound gradients that f16's loss scale multiplies; "
      "clip-norm can");
  check<UsageError>(!options.is_nesterov || options.momentum > 0,
                    "optimizer: nesterov needs a momentum above 0");
}

}  // namespace

std::vector<ParameterGroup> group_parameters(const std::vector<Named<Parameter>>& parameters,
                                             const GroupingOptions& options) {
  std::vector<ParameterGroup> groups;
  for (const Named<Parameter>& parameter : parameters) {
    if (!parameter.item->is_trained()) continue;
    ParameterGroup wanted = group_for(parameter, options);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const auto& other) { return other.name() == wanted.name(); });
    if (group == groups.end()) group = groups.insert(groups.end(), std::move(wanted));
    group->parameters.push_back(parameter);
  }
  // By part (the alphabet's order is the network's), what decays first.
  std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
    return std::tie(a.part, a.is_decay_free) < std::tie(b.part, b.is_decay_free);
  });
  return groups;
}

OptimizerOptions for_images_in(DType image_dtype, OptimizerOptions options) {
  if (is_half(image_dtype)) options.rounded = image_dtype;
  if (image_dtype == DType::f16) options.loss_scaling = LossScaling{};
  return options;
}

Optimizer::Optimizer(std::vector<ParameterGroup> groups, const OptimizerOptions& options)
    : parameters_(std::move(groups)),
      options_(options),
      is_held_(parameters_.groups().size(), false),
      has_velocity_(options.kind == OptimizerOptions::Kind::sgd ||
                    options.kind == OptimizerOptions::Kind::rmsprop) {
  check_options(options);
  for (const ParameterGroup& group : parameters_.groups())
    check<UsageError>(group.lr_factor >= 0 && group.weight_decay >= 0, "optimizer: group '",
                      group.name(), "' has learning rate factor ", group.lr_factor,
                      " and weight decay ", group.weight_decay, ", both must be 0 or above");
  const Device device = parameters_.values().device();
  const auto numbers = [&](std::int64_t count, double value) {
    return Tensor::full({count}, DType::f64, value, device);
  };
  const auto count = static_cast<std::int64_t>(is_held_.size());
  state_ = {.loss = numbers(1, 0),
            .squares = numbers(count, 0),
            .clipped = options.clip_value > 0 ? numbers(count, 0) : Tensor(),
            .moves = numbers(count, 1),
            .counts = numbers(count, 0),
            .loss_scale = numbers(3, 0),
            .norm = numbers(1, 0),
            .scale = numbers(1, 1)};
  loss_scale().fill(options.loss_scaling ? kFirstLossScale : 1);
  learning_rate_ = numbers(1, 0);
  if (options.rounded) parameters_.keep_rounded(*options.rounded);
  if (!has_velocity_ || options.momentum != 0) mean_ = parameters_.zeros_like_values();
  if (options.kind != OptimizerOptions::Kind::sgd) square_ = parameters_.zeros_like_values();
}

StepReport Optimizer::step(double learning_rate) {
  begin_step(learning_rate);
  queue_step(Tensor::zeros({1}, DType::f64, parameters_.values().device()));
  const StepReport report{.gradient_norm = state_.norm.item(),
                          .gradient_scale = state_.scale.item()};
  if (!options_.loss_scaling && !std::isfinite(report.gradient_norm)) {
    go_on();
    check_finite();
  }
  return report;
}

void Optimizer::begin_step(double learning_rate) {
  check(std::isfinite(learning_rate) && learning_rate >= 0,
        "optimizer: the learning rate must be 0 or above, got ", learning_rate);
  learning_rate_.fill(learning_rate);
  parameters_.refresh_rounded();
}

Tensor Optimizer::seed(const Tensor& loss) const {
  if (!options_.loss_scaling) return Tensor::full(loss.shape(), loss.dtype(), 1.0, loss.device());
  return loss_scale().to(loss.dtype()).reshape(loss.shape()).clone();
}

void Optimizer::queue_step(const Tensor& loss) {
  Scope scope("optimizer");
  std::vector<Tensor> gradients(is_held_.size());
  for (std::size_t group = 0; group < gradients.size(); ++group) {
    if (is_held_[group]) continue;
    Tensor& gradient = gradients[group] = parameters_.gathered_gradients(group);
    Tensor squares = state_.squares.slice(static_cast<std::int64_t>(group), 1);
    sum_of_squares(gradient, squares);
    if (options_.clip_value == 0) continue;
    clamp_in_place(gradient, -options_.clip_value, options_.clip_value);
    Tensor clipped = state_.clipped.slice(static_cast<std::int64_t>(group), 1);
    sum_of_squares(gradient, clipped);
  }
  state_.loss.copy_from(loss.reshape({1}));
  decide_step(options_.clip_norm, options_.loss_scaling.value_or(LossScaling{.interval = 0}),
              state_);
  for (std::size_t group = 0; group < gradients.size(); ++group)
    if (!is_held_[group]) step_group(group, gradients[group]);
  parameters_.refresh_rounded(true);
}

void Optimizer::check_finite() const {
  std::string names;
  int count = 0;
  constexpr int kListed = 5;
  for (const ParameterGroup& group : parameters_.groups())
    for (const auto& [path, parameter] : group.parameters) {
      if (!parameter->is_trained() || !parameter->gradient().is_defined()) continue;
      if (std::isfinite(sum_of_squares(parameter->gradient()))) continue;
      if (++count <= kListed) names += (count > 1 ? ", " : "") + path;
    }
  if (count > kListed) names += ", ...";
  check<NonFiniteError>(count == 0, "optimizer: the gradient is not finite in ", count,
                        " parameters: ", names, "; no weight was changed");
}

void Optimizer::step_group(std::size_t group, const Tensor& gradient) {
  const ParameterGroup& settings = parameters_.groups()[group];
  const LiveNumber learning_rate(learning_rate_, settings.lr_factor), scale(state_.scale);
  Tensor value = parameters_.group_of(parameters_.values(), group);
  const StepCopies copies{.rounded = parameters_.rounded_of(group)};
  Tensor mean = mean_.is_defined() ? parameters_.group_of(mean_, group) : Tensor();
  if (options_.kind == OptimizerOptions::Kind::sgd) {
    sgd_step({.learning_rate = learning_rate,
              .weight_decay = settings.weight_decay,
              .momentum = options_.momentum,
              .is_nesterov = options_.is_nesterov,
              .gradient_scale = scale},
             gradient, value, mean, copies);
    return;
  }
  Tensor square = parameters_.group_of(square_, group);
  if (options_.kind == OptimizerOptions::Kind::rmsprop) {
    rmsprop_step({.learning_rate = learning_rate,
                  .weight_decay = settings.weight_decay,
                  .alpha = options_.alpha,
                  .momentum = options_.momentum,
                  .epsilon = options_.epsilon,
                  .gradient_scale = scale},
                 gradient, value, mean, square, copies);
    return;
  }
  adam_step({.learning_rate = learning_rate,
             .weight_decay = settings.weight_decay,
             .beta1 = options_.beta1,
             .beta2 = options_.beta2,
             .epsilon = options_.epsilon,
             .is_decoupled = options_.kind == OptimizerOptions::Kind::adamw,
             .step = LiveNumber(state_.counts.slice(static_cast<std::int64_t>(group), 1)),
             .gradient_scale = scale},
            gradient, value, mean, square, copies);
}

bool Optimizer::hold(std::string_view part, bool is_held) {
  const auto& groups = parameters_.groups();
  bool is_change = false;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (groups[i].part != part || is_held_[i] == is_held) continue;
    is_change = true;
    is_held_[i] = is_held;
    state_.moves.slice(static_cast<std::int64_t>(i), 1).fill(is_held ? 0 : 1);
    for (const Named<Parameter>& parameter : groups[i].parameters)
      parameter.item->set_trained(!is_held);
  }
  return is_change;
}

std::vector<std::vector<std::string>> Optimizer::table() const {
  std::vector<std::vector<std::string>> rows{
      {"group", "tensors", "elements", "lr factor", "weight decay"}};
  for (const ParameterGroup& group : parameters_.groups())
    rows.push_back({group.name(), fmt::format("{}", group.parameters.size()),
                    fmt::format("{}", parameters_.numel(group)), fmt::format("{}", group.lr_factor),
                    fmt::format("{}", group.weight_decay)});
  return rows;
}

TensorMap Optimizer::state() const {
  TensorMap tensors{{"optimizer.steps", state_.counts},
                    {"optimizer.loss_scale", state_.loss_scale}};
  if (mean_.is_defined())
    tensors.merge(
        parameters_.named(mean_, has_velocity_ ? "optimizer.velocity." : "optimizer.mean."));
  if (square_.is_defined()) tensors.merge(parameters_.named(square_, "optimizer.square."));
  return tensors;
}

}  // namespace proxent
