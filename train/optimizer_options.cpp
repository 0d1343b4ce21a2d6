#include "train/optimizer_options.h"

#include "train/choice.h"

namespace proxent {
OptimizerOptions optimizer_options_of(const OptimConfig& config) {
  using Kind = OptimizerOptions::Kind;
  return {.kind = chosen<Kind>("optim.name", config.name,
                               {{"sgd", Kind::sgd},
                                {"adam", Kind::adam},
                                {"adamw", Kind::adamw},
                                {"rmsprop", Kind::rmsprop}}),
          .momentum = config.momentum,
          .is_nesterov = config.nesterov,
          .beta1 = config.betas[0],
          .beta2 = config.betas[1],
          .alpha = config.rms_alpha,
          .epsilon = config.eps,
          .clip_value = config.clip_value,
          .clip_norm = config.clip_norm};
}

GroupingOptions grouping_options_of(const Config& config) {
  return {.weight_decay = config.optim.wd,
          .decays_norms = config.optim.decay_all,
          .decays_biases = config.optim.decay_all,
          .proxy_lr_factor = config.loss.proxy_lr_mult,
          .proxy_weight_decay = config.loss.proxy_wd};
}

}  // namespace proxent
