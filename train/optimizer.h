// SGD, Adam, AdamW and RMSprop over flat buffers, with parameter groups and gradient clipping.
#pragma once

#include <optional>

#include "tensor/optimizer_step.h"
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
  enum class Kind { sgd, adam, adamw, rmsprop };
  Kind kind = Kind::adamw;
  double momentum = 0.9;  // sgd, rmsprop
  bool is_nesterov = false;
  double beta1 = 0.9, beta2 = 0.999;  // adam, adamw
  double alpha = 0.99;                // rmsprop
  double epsilon = 1e-8;              // all but sgd
  // 0: off. With both, values are clipped before the norm, as torch.nn.utils does in that order.
  double clip_value = 0;  // every element of a gradient into [-clip_value, clip_value]
  double clip_norm =
      0;  // all gradients together: scaled by clip_norm / (norm + 1e-6) if that is < 1
  std::optional<LossScaling> loss_scaling = {};  // for gradients that pass through f16
  std::optional<DType> rounded = {};  // a half: each step also writes the weights in it, for cast()
};

// What training a network in image_dtype needs besides: rounded weights for a half, and a loss
// scale for f16.
OptimizerOptions for_images_in(DType image_dtype, OptimizerOptions options);

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

  // The same in pieces that never wait for the device. Before forward: the rate of the step, and
  // rounded weights anew if somebody else changed the weights.
  void begin_step(double learning_rate);
  bool scales_loss() const { return options_.loss_scaling.has_value(); }
  // What backward starts from instead of 1: the loss scale, in the loss's dtype.
  Tensor seed(const Tensor& loss) const;
  // The step. Where the loss or a gradient is not finite it changes nothing; without loss_scaling
  // neither do the steps after it, until go_on() was called.
  void queue_step(const Tensor& loss);
  // One f64 each in the device's memory, of the step that was queued last: norm of all gradients,
  // loss scale that the next one has, and how many steps were skipped so far.
  Tensor gradient_norm() const { return state_.norm; }
  Tensor loss_scale() const { return state_.loss_scale.slice(0, 1); }
  Tensor skipped() const { return state_.loss_scale.slice(2, 1); }
  // Lets steps move weights again after one that was not finite.
  void go_on() { skipped().fill(0); }
  // Throws NonFiniteError naming parameters if a gradient is not finite now.
  void check_finite() const;

  // Holds a part ("backbone", "head", "proxies") still: its gradients are not even computed, and it
  // neither moves nor decays; its moments wait. Nothing happens where the part has no parameter.
  // True if that changed anything.
  bool hold(std::string_view part, bool is_held);

  FlatParameters& parameters() { return parameters_; }
  // Rows of texts for the run's header: group, tensors, elements, learning rate factor, decay.
  std::vector<std::vector<std::string>> table() const;
  // Moments and step counts, sharing memory: writing them saves, copying into them restores.
  TensorMap state() const;

 private:
  void step_group(std::size_t group, const Tensor& gradient);

  FlatParameters parameters_;
  OptimizerOptions options_;
  std::vector<bool> is_held_;  // by group
  // In the memory of the parameters. counts are for Adam's bias correction.
  StepState state_;
  Tensor learning_rate_;
  bool has_velocity_;     // mean_ is the velocity of sgd or rmsprop
  Tensor mean_, square_;  // moments; undefined where the kind has none
};

}  // namespace proxent
