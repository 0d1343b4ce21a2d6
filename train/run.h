// One training run from configuration to result: data, run folder, training, the test at the end.
#pragma once

#include <filesystem>

#include "train/config.h"

namespace proxent {

// Trains as `config` says and returns an exit code: done, or stopped early with a checkpoint.
// `arguments` go into the run's record. Throws what goes wrong; the run's folder says so too.
int run_training(const Config& config, const std::vector<std::string>& arguments);

// The last.state that run.resume names: a run folder's, the file itself, or with "auto" that of
// run.out if there is one. Empty: start anew. Throws DataError if what is named does not exist,
// UsageError if it is a file of weights.
std::filesystem::path state_to_resume(const RunConfig& config);
// The folder of the run whose ckpt/last.state this is.
std::filesystem::path folder_of_state(const std::filesystem::path& state);

}  // namespace proxent
