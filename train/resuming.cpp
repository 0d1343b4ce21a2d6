#include "train/resuming.h"

#include "train/checkpoint.h"
#include "train/device.h"
#include "train/experiment.h"
#include "train/finished_run.h"

namespace proxent {
namespace {

// Settings that change numbers, of which this sitting has others than the run so far.
std::string new_settings(const Config& config, const RunFolder& folder) {
  const Config own = config_of_run(folder.path());
  Config then = experiment_of(own), now = experiment_of(config);
  then.run.seed = own.run.seed;
  now.run.seed = config.run.seed;
  then.debug.overfit_batch = own.debug.overfit_batch;
  now.debug.overfit_batch = config.debug.overfit_batch;
  then.model.weights = now.model.weights;  // the file they came from may be gone
  return differences(now, then);
}

// A run that is done keeps the settings it was trained with, or its numbers would be taken for
// those of others. One that failed in its last evaluation may need some to get through it.
void check_nothing_new(const std::string& changes, const Trainer& trainer,
                       const RunFolder& folder) {
  if (!trainer.is_done() || status_of_run(folder.path()) != "done") return;
  check<UsageError>(
      changes.empty(), "run.resume: ", folder.path(), " is done, at step ", trainer.progress().step,
      " of ", trainer.total_steps(), ", and nothing would be trained with ", changes,
      trainer.progress().step < trainer.total_steps() ? ". Give a larger --early-stop"
                                                      : ". Give more --steps or --epochs",
      ", or start a new run");
}

}  // namespace

std::filesystem::path state_to_resume(const RunConfig& config) {
  if (config.resume.empty()) return {};
  const bool is_auto = config.resume == "auto";
  std::filesystem::path path = is_auto ? config.out : config.resume;
  const bool is_folder = std::filesystem::is_directory(path);
  check<UsageError>(is_folder || path.extension() != ".safetensors", "run.resume: ", path.string(),
                    " holds weights, not the state of a run. Name the run's folder or its "
                    "ckpt/last.state; --weights starts a new run from weights");
  if (is_folder) path = path / "ckpt" / "last.state";
  const bool exists = std::filesystem::is_regular_file(path) ||
                      std::filesystem::is_regular_file(state_before(path));
  const bool is_run = std::filesystem::exists(std::filesystem::path(config.resume) / "run.json");
  check<DataError>(exists || is_auto, "run.resume: no state to go on from at ", path.string(),
                   is_run ? "; the run ended before its first checkpoint. Start over in its folder "
                            "by --resume auto --out " +
                                config.resume
                          : "; name a run's folder or its ckpt/last.state");
  return exists ? path : std::filesystem::path();
}

std::filesystem::path folder_of_state(const std::filesystem::path& state) {
  std::filesystem::path folder = state.parent_path().parent_path();
  if (!folder.empty()) return folder;
  return state.has_parent_path() ? "." : "..";
}

void check_may_start_over(const std::string& folder) {
  const bool is_done = status_of_run(folder) == "done";
  const bool has_place = std::filesystem::is_directory(folder + "/ckpt") ||
                         !std::filesystem::exists(folder + "/metrics.csv");  // nor any log
  check<UsageError>(!is_done && has_place, "run.resume: the run in '", folder, "' ",
                    is_done ? "is done, and its checkpoints are gone"
                            : "has no folder ckpt: moved, or on a disk that is not there?",
                    ". Nothing was changed. Bring its ckpt/ back, or choose another --out");
}

void settle_resumed(Config& config, const std::filesystem::path& state) {
  if (!config.batch.size)  // "auto" has been answered
    config.batch.size = config_of_run(folder_of_state(state)).batch.size;
  const std::string& weights = config.model.weights;
  check<DataError>(weights.empty() || std::filesystem::exists(weights), "model.weights: ", weights,
                   " is gone. The state holds every weight: --weights '' goes on without the file, "
                   "and what is called untrained at the end is then a network without it");
}

void check_changes(const Config& config, Device device, const Trainer& trainer, RunFolder& folder,
                   Log& log) {
  const std::string changes = new_settings(config, folder);
  check_nothing_new(changes, trainer, folder);
  if (!changes.empty())
    log.warning("the run goes on with " + changes + "; what comes out is of both");
  const Json* then = folder.record().find("device");
  if (then && then->plain() != describe(device))
    log.warning("the run was trained on " + then->plain() + " and goes on with " +
                describe(device) +
                ", which may add in another order: its last bits will be others than those of a "
                "run that was not stopped");
}

}  // namespace proxent
