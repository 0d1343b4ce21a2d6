// Going on with a run: which state it goes on from, and what it may not change.
#pragma once

#include <filesystem>
#include <string>

#include "train/config.h"
#include "train/log.h"
#include "train/run_folder.h"
#include "train/trainer.h"

namespace proxent {

// The last.state that run.resume names: a run folder's, the file itself, or with "auto" that of
// run.out if there is one. Empty: start anew. Throws DataError if what is named does not exist,
// UsageError if it is a file of weights.
std::filesystem::path state_to_resume(const RunConfig& config);
// The folder of the run whose ckpt/last.state this is.
std::filesystem::path folder_of_state(const std::filesystem::path& state);
// A run that left no state starts over in its folder, where its logs would be emptied. Throws
// UsageError if they are all that is left of it.
void check_may_start_over(const std::string& folder);
// What a run that goes on from `state` takes from when it began. Throws DataError if its weights
// file is gone.
void settle_resumed(Config& config, const std::filesystem::path& state);
// Of a trainer that has taken its state: warns of settings, threads or a device with which an
// unbroken run would not have been made. Throws UsageError if the run is done, keeping the settings
// that its numbers were made with.
void check_changes(const Config& config, Device device, const Trainer& trainer, RunFolder& folder,
                   Log& log);

}  // namespace proxent
