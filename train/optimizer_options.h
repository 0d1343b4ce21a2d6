// The options of optimizer and parameter groups that a configuration stands for.
#pragma once

#include "train/config.h"
#include "train/optimizer.h"

namespace proxent {

// Throw UsageError naming the key for a value that is not among its choices.
OptimizerOptions optimizer_options_of(const OptimConfig& config);
GroupingOptions grouping_options_of(const Config& config);

}  // namespace proxent
