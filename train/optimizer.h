// SGD, Adam and AdamW over flat buffers, with parameter groups and gradient clipping.
#pragma once

#include "train/flat_parameters.h"

namespace proxent {

struct GroupingOptions {
  double weight_decay = 1e-4;  // of weights; norms and biases have none unless asked
  bool decays_norms = false;
  bool decays_biases = false;
  // Parameters below these paths are the head; other weights are the backbone.
  std::vector<std::string> head_paths = {"embedding", "gem_power", "layer_norm"};
  double head_lr_factor = 1;
  double proxy_lr_factor = 1;
  double proxy_weight_decay = 0;
};

// The groups backbone, head and proxies (by Role), each split where only a part of it decays. Only
// parameters that are trained now belong to one; the others stay as they are for the whole run.
std::vector<ParameterGroup> group_parameters(const std::vector<Named<Parameter>>& parameters,
                                             const GroupingOptions& options);

struct OptimizerOptions {
  enum class Kind { sgd, adam, adamw };
  Kind kind = Kind::adamw;
  double momentum = 0.9;  // sgd
  bool is_nesterov = false;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // adam, adamw
  // 0: off. With both, values are clipped before the norm, as torch.nn.utils does in that order.
  double clip_value = 0;  // every element of a gradient into [-clip_value, clip_value]
  double clip_norm =
      0;  // all gradients together: scaled by clip_norm / (norm + 1e-6) if that is < 1
};

struct StepReport {
  double gradient_norm = 0;   // of all gradients together, as backward left them
  double gradient_scale = 1;  // below 1: clipped by norm
};

// Formulas in tensor/optimizer_step.h. A parameter that no gradient reached takes part with a zero
// gradient (torch.optim with zero_grad(set_to_none=False)): momentum and decay go on.
class Optimizer {
 public:
  // Moves the parameters into flat buffers, where they stay. Throws UsageError for options out of
  // range and Error for groups that FlatParameters refuses.
  Optimizer(std::vector<ParameterGroup> groups, const OptimizerOptions& options);

  void zero_gradients() { parameters_.zero_gradients(); }
  // One step at learning_rate times each group's factor. Throws NonFiniteError naming parameters,
  // and changes nothing, if a gradient is not finite.
  StepReport step(double learning_rate);

  // Holds a part ("backbone", "head", "proxies") still: its gradients are not even computed, and it
  // neither moves nor decays; its moments wait. Nothing happens where the part has no parameter.
  void hold(std::string_view part, bool is_held);

  FlatParameters& parameters() { return parameters_; }
  // Rows of texts for the run's header: group, tensors, elements, learning rate factor, decay.
  std::vector<std::vector<std::string>> table() const;
  // Moments and step counts, sharing memory: writing them saves, copying into them restores.
  TensorMap state() const;

 private:
  double gradient_norm(std::vector<Tensor>& gradients);
  [[noreturn]] void fail_not_finite() const;
  void step_group(std::size_t group, double learning_rate, double gradient_scale,
                  const Tensor& gradient);

  FlatParameters parameters_;
  OptimizerOptions options_;
  std::vector<bool> is_held_;  // by group
  Tensor steps_;               // (groups) i64: steps done, for Adam's bias correction
  Tensor mean_, square_;       // moments; SGD's velocity is mean_
};

}  // namespace proxent
