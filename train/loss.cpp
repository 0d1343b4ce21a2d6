#include "train/loss.h"

#include <algorithm>
#include <type_traits>

#include "losses/arcface.h"
#include "losses/multi_proxy_entropy_loss.h"
#include "losses/proxy_anchor.h"
#include "losses/proxy_gml.h"
#include "losses/soft_triple.h"
#include "losses/tuple_loss.h"
#include "train/choice.h"
#include "train/config_table.h"
#include "train/text.h"

namespace proxent {
namespace {

// What every loss with proxies looks at.
ProxyOptions proxy_options_of(const Config& config, std::int64_t classes) {
  const LossConfig& loss = config.loss;
  return {.classes = classes,
          .per_class = proxies_per_class(loss),
          .dim = config.model.embed_dim,
          .init = chosen<ProxyInit>("loss.proxy_init", loss.proxy_init,
                                    {{"normal", ProxyInit::normal},
                                     {"kaiming", ProxyInit::kaiming},
                                     {"uniform", ProxyInit::uniform}}),
          .seed = static_cast<std::uint64_t>(config.run.seed),
          .form = chosen<LossForm>("loss.form", loss.form,
                                   {{"fused", LossForm::fused}, {"composed", LossForm::composed}})};
}

MultiProxyEntropyOptions multi_proxy_options_of(const LossConfig& loss) {
  return {.sigma = sigma_of(loss),
          .sigma_h = loss.sigma_h,
          .sigma_a = loss.sigma_a,
          .gamma = loss.gamma,
          .margin = margin_of(loss),
          .select = chosen<ProxySelect>(
              "loss.select", loss.select,
              {{"lse", ProxySelect::lse}, {"max", ProxySelect::max}, {"soft", ProxySelect::soft}}),
          .negatives = chosen<ProxyNegatives>("loss.negatives", loss.negatives,
                                              {{"selected", ProxyNegatives::selected},
                                               {"all-proxies", ProxyNegatives::all_proxies}}),
          .inter = chosen<InterClasses>(
              "loss.inter", loss.inter,
              {{"all", InterClasses::all}, {"complement", InterClasses::complement}}),
          .weight_inter = loss.weight_inter,
          .weight_intra = loss.weight_intra,
          .weight_usage = loss.weight_usage,
          .normalise_entropy = loss.normalise_entropy,
          .detach_selection = loss.detach_selection};
}

std::unique_ptr<MetricLoss> build_multi_proxy(const Config& config, std::int64_t classes) {
  return std::make_unique<MultiProxyEntropyLoss>(nullptr, "loss", proxy_options_of(config, classes),
                                                 multi_proxy_options_of(config.loss));
}

// The multi-proxy loss without its entropies.
MultiProxyEntropyOptions softmax_options_of(const LossConfig& loss) {
  return {.sigma = sigma_of(loss), .margin = margin_of(loss), .weight_inter = 0, .weight_intra = 0};
}

std::unique_ptr<MetricLoss> build_softmax(const Config& config, std::int64_t classes) {
  return std::make_unique<MultiProxyEntropyLoss>(nullptr, "loss", proxy_options_of(config, classes),
                                                 softmax_options_of(config.loss));
}

std::unique_ptr<MetricLoss> build_soft_triple(const Config& config, std::int64_t classes) {
  MultiProxyEntropyOptions options = softmax_options_of(config.loss);
  options.gamma = config.loss.gamma;
  options.select = ProxySelect::soft;
  return std::make_unique<SoftTripleLoss>(nullptr, "loss", proxy_options_of(config, classes),
                                          options, config.loss.weight_merge);
}

// A loss that is no more than a function of embeddings, its proxies and labels.
template <class Options>
std::unique_ptr<MetricLoss> of_proxies(const Config& config, std::int64_t classes,
                                       Variable (*function)(const Variable&, const Variable&,
                                                            const Tensor&, const Options&),
                                       const std::type_identity_t<Options>& options) {
  return std::make_unique<PlainProxyLoss>(
      nullptr, "loss", proxy_options_of(config, classes),
      [=](const Variable& embeddings, const Variable& proxies, const Tensor& labels) {
        return function(embeddings, proxies, labels, options);
      },
      sigma_of(config.loss));
}

std::unique_ptr<MetricLoss> build_proxy_anchor(const Config& config, std::int64_t classes) {
  return of_proxies(config, classes, proxy_anchor,
                    {.alpha = sigma_of(config.loss), .delta = margin_of(config.loss)});
}

std::unique_ptr<MetricLoss> build_proxy_gml(const Config& config, std::int64_t classes) {
  return of_proxies(
      config, classes, proxy_gml,
      {.share = config.loss.proxy_share, .weight_proxies = config.loss.weight_proxies});
}

std::unique_ptr<MetricLoss> build_arcface(const Config& config, std::int64_t classes) {
  return of_proxies(config, classes, arcface,
                    {.sigma = sigma_of(config.loss), .margin = margin_of(config.loss)});
}

// A loss that is a function of a batch's pairs, among themselves and with its memory.
template <class Options>
std::unique_ptr<MetricLoss> of_pairs(const Config& config,
                                     Variable (*function)(const Comparison&, const Options&),
                                     const std::type_identity_t<Options>& options) {
  return std::make_unique<TupleLoss>(
      nullptr, "loss", [=](const Comparison& pairs) { return function(pairs, options); },
      MemoryOptions{.size = config.loss.memory,
                    .dim = config.model.embed_dim,
                    .start = config.loss.memory_start});
}

std::unique_ptr<MetricLoss> build_contrastive(const Config& config, std::int64_t) {
  return of_pairs(
      config, contrastive,
      {.positive_margin = config.loss.positive_margin, .negative_margin = margin_of(config.loss)});
}

std::unique_ptr<MetricLoss> build_triplet(const Config& config, std::int64_t) {
  return of_pairs(config, triplet,
                  {.margin = margin_of(config.loss),
                   .mining = chosen<TripletMining>("loss.mining", config.loss.mining,
                                                   {{"batch-hard", TripletMining::batch_hard},
                                                    {"semi-hard", TripletMining::semi_hard}})});
}

std::unique_ptr<MetricLoss> build_multi_similarity(const Config& config, std::int64_t) {
  const LossConfig& loss = config.loss;
  return of_pairs(
      config, multi_similarity,
      {.alpha = loss.alpha, .beta = loss.beta, .base = loss.base, .epsilon = loss.epsilon});
}

}  // namespace

const std::vector<LossKind>& loss_kinds() {
  static const std::vector<LossKind> kinds = {
      {.name = "mpl",
       .about = "multi-proxy entropy: several proxies per class, and the entropies of both choices",
       .proxies = 4,
       .sigma = 18,
       .keys = {"proxies", "sigma", "sigma_h", "sigma_a", "gamma", "margin", "select", "negatives",
                "inter", "weight_inter", "weight_intra", "weight_usage", "normalise_entropy",
                "detach_selection", "form"},
       .build = build_multi_proxy},
      {.name = "soft-triple",
       .about = "several proxies per class, softly chosen, merged (Qian et al. 2019)",
       .proxies = 10,
       .sigma = 20,
       .margin = 0.01,
       .keys = {"proxies", "sigma", "gamma", "margin", "weight_merge", "form"},
       .build = build_soft_triple},
      {.name = "proxy-nca++",
       .about = "softmax over one proxy per class (Teh et al. 2020)",
       .proxies = 1,
       .sigma = 18,
       .keys = {"sigma", "form"},
       .build = build_softmax},
      {.name = "norm-softmax",
       .about = "the same at temperature 0.05 (Zhai and Wu 2019)",
       .proxies = 1,
       .sigma = 20,
       .keys = {"sigma", "form"},
       .build = build_softmax},
      {.name = "proxy-anchor",
       .about = "proxies pull and push a batch's pictures, hard ones most (Kim et al. 2020)",
       .proxies = 1,
       .sigma = 32,
       .margin = 0.1,
       .keys = {"sigma", "margin"},
       .build = build_proxy_anchor},
      {.name = "proxy-gml",
       .about = "a picture listens to its nearest proxies (Zhu et al. 2020)",
       .proxies = 12,
       .sigma = 18,  // of MetricLoss::assignment_scale(): the loss itself has no scale
       .keys = {"proxies", "proxy_share", "weight_proxies"},
       .build = build_proxy_gml},
      {.name = "cosface",
       .about = "softmax with a margin on the cosine (Wang et al. 2018)",
       .proxies = 1,
       .sigma = 64,
       .margin = 0.35,
       .keys = {"sigma", "margin", "form"},
       .build = build_softmax},
      {.name = "arcface",
       .about = "softmax with a margin on the angle, radians (Deng et al. 2019)",
       .proxies = 1,
       .sigma = 64,
       .margin = 0.5,
       .keys = {"sigma", "margin"},
       .build = build_arcface},
      {.name = "subcenter-arcface",
       .about = "ArcFace to the nearest of several proxies (Deng et al. 2020)",
       .proxies = 3,
       .sigma = 64,
       .margin = 0.5,
       .keys = {"proxies", "sigma", "margin"},
       .build = build_arcface},
      {.name = "contrastive",
       .about = "pairs: pulled together, pushed to a margin (Hadsell et al. 2006)",
       .margin = 1,
       .keys = {"margin", "positive_margin", "memory", "memory_start"},
       .build = build_contrastive},
      {.name = "triplet",
       .about = "nearer to its class than to another by a margin (Schroff et al. 2015)",
       .margin = 0.2,
       .keys = {"margin", "mining", "memory", "memory_start"},
       .build = build_triplet},
      {.name = "multi-similarity",
       .about = "pairs weighted by how they compare (Wang et al. 2019)",
       .keys = {"alpha", "beta", "base", "epsilon", "memory", "memory_start"},
       .build = build_multi_similarity},
  };
  return kinds;
}

bool LossKind::has(std::string_view key) const {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

const LossKind& loss_kind(std::string_view name) {
  std::vector<std::string> names;
  for (const LossKind& kind : loss_kinds()) {
    if (kind.name == name) return kind;
    names.emplace_back(kind.name);
  }
  fail<UsageError>("loss.name: expected ", one_of(names), ", got '", name, "'.",
                   suggestion(std::string(name), names));
}

std::int64_t proxies_per_class(const LossConfig& config) {
  const LossKind& kind = loss_kind(config.name);
  return kind.value_of("proxies", config.proxies, kind.proxies);
}
double sigma_of(const LossConfig& config) {
  const LossKind& kind = loss_kind(config.name);
  return kind.value_of("sigma", config.sigma, kind.sigma);
}
double margin_of(const LossConfig& config) {
  const LossKind& kind = loss_kind(config.name);
  return kind.value_of("margin", config.margin, kind.margin);
}

std::vector<std::string> keys_without_effect(const LossConfig& loss) {
  const LossKind& kind = loss_kind(loss.name);
  const ConfigTable table(Config{.loss = loss});
  std::vector<std::string> keys;
  for (const Setting& row : table.rows()) {
    const bool is_common =
        row.key == "name" || (row.key.starts_with("proxy_") && row.key != "proxy_share");
    if (row.section != "loss" || is_common || row.is_default() || kind.has(row.key)) continue;
    keys.push_back(row.key);
  }
  return keys;
}

LossConfig without_idle_keys(const LossConfig& loss) {
  ConfigTable table(Config{.loss = loss});
  for (const std::string& key : keys_without_effect(loss)) {
    Setting& row = *table.settings().find_key("loss." + key);
    const std::vector<TomlEntry> initial = read_toml(row.key + " = " + row.initial, "default");
    table.settings().assign(row, initial[0].value, row.name(), "default");
  }
  return table.config().loss;
}

std::unique_ptr<MetricLoss> build_loss(const Config& config, std::int64_t classes) {
  return loss_kind(config.loss.name).build(config, classes);
}

}  // namespace proxent
