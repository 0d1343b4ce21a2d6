#include "train/loss.h"

#include <algorithm>

#include "losses/arcface.h"
#include "losses/embedding_memory.h"
#include "losses/proxy_anchor.h"
#include "losses/proxy_gml.h"
#include "losses/soft_triple.h"
#include "train/choice.h"
#include "train/config_table.h"
#include "train/text.h"

namespace proxent {
namespace {

ProxyOptions proxy_options_of(const Config& config, std::int64_t classes) {
  const LossConfig& loss = config.loss;
  return {
      .classes = classes,
      .per_class = proxies_per_class(loss),
      .dim = config.model.embed_dim,
      .init = chosen<ProxyInit>("loss.proxy_init", loss.proxy_init,
                                {{"normal", ProxyInit::normal}, {"kaiming", ProxyInit::kaiming}}),
      .seed = static_cast<std::uint64_t>(config.run.seed),
      .form = chosen<LossForm>("loss.form", loss.form,
                               {{"fused", LossForm::fused}, {"composed", LossForm::composed}}),
      .revive_below = loss.name == "mpl" ? loss.revive_below : 0};
}

std::unique_ptr<MetricLoss> build_plain_proxy_loss(const Config& config, std::int64_t classes) {
  using Function = PlainProxyLoss::Function;
  const LossConfig& loss = config.loss;
  const double sigma = sigma_of(loss), margin = margin_of(loss);
  Function function;
  if (loss.name == "proxy-anchor")
    function = [=](const auto& z, const auto& w, const auto& labels) {
      return proxy_anchor(z, w, labels, {.alpha = sigma, .delta = margin});
    };
  else if (loss.name == "proxy-gml")
    function = [share = loss.proxy_share, weight = loss.weight_proxies](
                   const auto& z, const auto& w, const auto& labels) {
      return proxy_gml(z, w, labels, {.share = share, .weight_proxies = weight});
    };
  else
    function = [=](const auto& z, const auto& w, const auto& labels) {
      return arcface(z, w, labels, {.sigma = sigma, .margin = margin});
    };
  return std::make_unique<PlainProxyLoss>(nullptr, "loss", proxy_options_of(config, classes),
                                          std::move(function), sigma);
}

std::unique_ptr<MetricLoss> build_tuple_loss(const Config& config) {
  const LossConfig& loss = config.loss;
  const double margin = margin_of(loss);
  TupleLoss::Function function;
  if (loss.name == "contrastive")
    function = [=, positive = loss.positive_margin](const Comparison& pairs) {
      return contrastive(pairs, {.positive_margin = positive, .negative_margin = margin});
    };
  else if (loss.name == "triplet")
    function = [=, mining = chosen<TripletMining>("loss.mining", loss.mining,
                                                  {{"batch-hard", TripletMining::batch_hard},
                                                   {"semi-hard", TripletMining::semi_hard}})](
                   const Comparison& pairs) {
      return triplet(pairs, {.margin = margin, .mining = mining});
    };
  else
    function = [options = MultiSimilarityOptions{loss.alpha, loss.beta, loss.base, loss.epsilon}](
                   const Comparison& pairs) { return multi_similarity(pairs, options); };
  return std::make_unique<TupleLoss>(
      nullptr, "loss", std::move(function),
      MemoryOptions{
          .size = loss.memory, .dim = config.model.embed_dim, .start = loss.memory_start});
}

}  // namespace

bool LossKind::has(std::string_view key) const {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

const std::vector<LossKind>& loss_kinds() {
  static const std::vector<LossKind> kinds = {
      {"mpl",
       "multi-proxy entropy: several proxies per class, and the entropies of both choices",
       4,
       18,
       0,
       {"proxies", "sigma", "sigma_h", "sigma_a", "gamma", "margin", "select", "negatives", "inter",
        "weight_inter", "weight_intra", "weight_usage", "revive_below", "normalise_entropy",
        "detach_selection", "form"}},
      {"soft-triple",
       "several proxies per class, softly chosen, merged (Qian et al. 2019)",
       10,
       20,
       0.01,
       {"proxies", "sigma", "gamma", "margin", "weight_merge", "form"}},
      {"proxy-nca++",
       "softmax over one proxy per class (Teh et al. 2020)",
       1,
       18,
       0,
       {"sigma", "form"}},
      {"norm-softmax",
       "the same at temperature 0.05 (Zhai and Wu 2019)",
       1,
       20,
       0,
       {"sigma", "form"}},
      {"proxy-anchor",
       "proxies pull and push a batch's pictures, hard ones most (Kim et al. 2020)",
       1,
       32,
       0.1,
       {"sigma", "margin"}},
      {"proxy-gml",
       "a picture listens to its nearest proxies (Zhu et al. 2020)",
       12,
       18,
       0,
       {"proxies", "proxy_share", "weight_proxies"}},
      {"cosface",
       "softmax with a margin on the cosine (Wang et al. 2018)",
       1,
       64,
       0.35,
       {"sigma", "margin", "form"}},
      {"arcface",
       "softmax with a margin on the angle, radians (Deng et al. 2019)",
       1,
       64,
       0.5,
       {"sigma", "margin"}},
      {"subcenter-arcface",
       "ArcFace to the nearest of several proxies (Deng et al. 2020)",
       3,
       64,
       0.5,
       {"proxies", "sigma", "margin"}},
      {"contrastive",
       "pairs: pulled together, pushed to a margin (Hadsell et al. 2006)",
       0,
       0,
       1,
       {"margin", "positive_margin", "memory", "memory_start"}},
      {"triplet",
       "nearer to its class than to another by a margin (Schroff et al. 2015)",
       0,
       0,
       0.2,
       {"margin", "mining", "memory", "memory_start"}},
      {"multi-similarity",
       "pairs weighted by how they compare (Wang et al. 2019)",
       0,
       0,
       0,
       {"alpha", "beta", "base", "epsilon", "memory", "memory_start"}},
  };
  return kinds;
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
  return kind.has("proxies") ? config.proxies.value_or(kind.proxies) : kind.proxies;
}
double sigma_of(const LossConfig& config) {
  return config.sigma.value_or(loss_kind(config.name).sigma);
}
double margin_of(const LossConfig& config) {
  return config.margin.value_or(loss_kind(config.name).margin);
}

std::vector<std::string> keys_without_effect(const LossConfig& loss) {
  const LossKind& kind = loss_kind(loss.name);
  Config copy;
  Settings settings;
  add_config(settings, copy);
  copy.loss = loss;
  std::vector<std::string> keys;
  for (const Setting& row : settings.rows()) {
    const bool is_common =
        row.key == "name" || (row.key.starts_with("proxy_") && row.key != "proxy_share");
    if (row.section != "loss" || is_common || row.is_default() || kind.has(row.key)) continue;
    keys.push_back(row.key);
  }
  return keys;
}

LossConfig without_idle_keys(const LossConfig& loss) {
  Config copy;
  Settings settings;
  add_config(settings, copy);
  copy.loss = loss;
  for (const std::string& key : keys_without_effect(loss)) {
    Setting& row = *settings.find_key("loss." + key);
    settings.assign(row, {.items = {unquoted(row.initial)}}, row.name(), "default");
  }
  return copy.loss;
}

MultiProxyEntropyOptions multi_proxy_options_of(const LossConfig& config) {
  MultiProxyEntropyOptions options{.sigma = sigma_of(config), .margin = margin_of(config)};
  if (config.name == "soft-triple") {
    options.gamma = config.gamma;
    options.select = ProxySelect::soft;
  }
  if (config.name != "mpl") {
    options.weight_inter = options.weight_intra = 0;
    return options;
  }
  options.sigma_h = config.sigma_h;
  options.sigma_a = config.sigma_a;
  options.gamma = config.gamma;
  options.select = chosen<ProxySelect>(
      "loss.select", config.select,
      {{"lse", ProxySelect::lse}, {"max", ProxySelect::max}, {"soft", ProxySelect::soft}});
  options.negatives = chosen<ProxyNegatives>(
      "loss.negatives", config.negatives,
      {{"selected", ProxyNegatives::selected}, {"all-proxies", ProxyNegatives::all_proxies}});
  options.inter =
      chosen<InterClasses>("loss.inter", config.inter,
                           {{"all", InterClasses::all}, {"complement", InterClasses::complement}});
  options.weight_inter = config.weight_inter;
  options.weight_intra = config.weight_intra;
  options.weight_usage = config.weight_usage;
  options.normalise_entropy = config.normalise_entropy;
  options.detach_selection = config.detach_selection;
  return options;
}

std::unique_ptr<MetricLoss> build_loss(const Config& config, std::int64_t classes) {
  const std::string& name = config.loss.name;
  if (loss_kind(name).proxies == 0) return build_tuple_loss(config);
  const bool is_plain = name == "proxy-anchor" || name == "proxy-gml" || name == "arcface" ||
                        name == "subcenter-arcface";
  if (is_plain) return build_plain_proxy_loss(config, classes);
  const ProxyOptions proxies = proxy_options_of(config, classes);
  const MultiProxyEntropyOptions options = multi_proxy_options_of(config.loss);
  if (name == "soft-triple")
    return std::make_unique<SoftTripleLoss>(nullptr, "loss", proxies, options,
                                            config.loss.weight_merge);
  return std::make_unique<MultiProxyEntropyLoss>(nullptr, "loss", proxies, options);
}

}  // namespace proxent
