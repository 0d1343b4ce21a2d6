#include "train/model_options.h"

#include <utility>

namespace proxent {
namespace {

// The value that a name stands for among a key's choices.
template <class T>
T chosen(const std::string& key, const std::string& name,
         std::initializer_list<std::pair<std::string_view, T>> choices) {
  for (const auto& [choice, value] : choices)
    if (choice == name) return value;
  fail<UsageError>(key, ": unknown value '", name, "'");
}

}  // namespace

MultiProxyEntropyOptions loss_options_of(const LossConfig& config) {
  return {.sigma = config.sigma,
          .sigma_h = config.sigma_h,
          .sigma_a = config.sigma_a,
          .gamma = config.gamma,
          .margin = config.margin,
          .select = chosen<ProxySelect>(
              "loss.select", config.select,
              {{"lse", ProxySelect::lse}, {"max", ProxySelect::max}, {"soft", ProxySelect::soft}}),
          .negatives = chosen<ProxyNegatives>("loss.negatives", config.negatives,
                                              {{"selected", ProxyNegatives::selected},
                                               {"all-proxies", ProxyNegatives::all_proxies}}),
          .inter = chosen<InterClasses>(
              "loss.inter", config.inter,
              {{"all", InterClasses::all}, {"complement", InterClasses::complement}}),
          .weight_inter = config.weight_inter,
          .weight_intra = config.weight_intra,
          .weight_usage = config.weight_usage,
          .normalise_entropy = config.normalise_entropy,
          .detach_selection = config.detach_selection};
}

ProxyOptions proxy_options_of(const Config& config, std::int64_t classes) {
  return {
      .classes = classes,
      .per_class = config.loss.proxies,
      .dim = config.model.embed_dim,
      .init = chosen<ProxyInit>("loss.proxy_init", config.loss.proxy_init,
                                {{"normal", ProxyInit::normal}, {"kaiming", ProxyInit::kaiming}}),
      .seed = static_cast<std::uint64_t>(config.run.seed),
      .form = chosen<LossForm>("loss.form", config.loss.form,
                               {{"fused", LossForm::fused}, {"composed", LossForm::composed}})};
}

OptimizerOptions optimizer_options_of(const OptimConfig& config) {
  using Kind = OptimizerOptions::Kind;
  return {
      .kind = chosen<Kind>("optim.name", config.name, {{"sgd", Kind::sgd}, {"adamw", Kind::adamw}}),
      .momentum = config.momentum,
      .is_nesterov = config.nesterov,
      .beta1 = config.betas[0],
      .beta2 = config.betas[1],
      .epsilon = config.eps,
      .clip_value = config.clip_value,
      .clip_norm = config.clip_norm};
}

GroupingOptions grouping_options_of(const Config& config) {
  return {.weight_decay = config.optim.wd,
          .proxy_lr_factor = config.loss.proxy_lr_mult,
          .proxy_weight_decay = config.loss.proxy_wd};
}

}  // namespace proxent
