// The options of loss, optimizer and parameter groups that a configuration stands for.
#pragma once

#include "losses/proxies.h"
#include "train/config.h"
#include "train/optimizer.h"

namespace proxent {

// Throw UsageError naming the key for a value that is not among its choices.
MultiProxyEntropyOptions loss_options_of(const LossConfig& config);
ProxyOptions proxy_options_of(const Config& config, std::int64_t classes);
OptimizerOptions optimizer_options_of(const OptimConfig& config);
GroupingOptions grouping_options_of(const Config& config);

}  // namespace proxent
