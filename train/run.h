// One training run from configuration to result: data, run folder, training, the test at the end.
#pragma once

#include <string>
#include <vector>

#include "train/config.h"

namespace proxent {

// Trains as `config` says and returns an exit code: done, or stopped early with a checkpoint.
// `arguments` go into the run's record. Throws what goes wrong; the run's folder says so too.
int run_training(const Config& config, const std::vector<std::string>& arguments);

}  // namespace proxent
