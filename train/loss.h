// The losses that --loss names, with their papers' defaults, and the one that a configuration
// stands for.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "losses/metric_loss.h"
#include "train/config.h"

namespace proxent {

// One loss: what "auto" means for it, which keys of [loss] it looks at, and what makes it.
struct LossKind {
  using Build = std::unique_ptr<MetricLoss>(const Config& config, std::int64_t classes);

  std::string_view name, about;
  std::int64_t proxies = 0;  // per class; none for a loss over pairs
  double sigma = 0, margin = 0;
  std::vector<std::string_view> keys;  // beside name and those of proxies: proxy_init, ...
  Build& build;                        // a reference, for no row may lack it

  bool has(std::string_view key) const;
  // What was given for the key, unless the loss does not look at it.
  template <class T>
  T value_of(std::string_view key, const std::optional<T>& given, T own) const {
    return has(key) ? given.value_or(own) : own;
  }
};

const std::vector<LossKind>& loss_kinds();
const LossKind& loss_kind(std::string_view name);  // UsageError for an unknown name

// With every "auto" filled in for its loss.
std::int64_t proxies_per_class(const LossConfig& config);
double sigma_of(const LossConfig& config);
double margin_of(const LossConfig& config);

// The keys that are set although the loss does not look at them.
std::vector<std::string> keys_without_effect(const LossConfig& config);
// The same loss with these keys at their defaults.
LossConfig without_idle_keys(const LossConfig& config);

// Throws UsageError naming the key for a value that is not among its choices.
std::unique_ptr<MetricLoss> build_loss(const Config& config, std::int64_t classes);

}  // namespace proxent
