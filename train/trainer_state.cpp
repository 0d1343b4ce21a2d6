// What a trainer saves, and how it goes on from there.
#include <fmt/format.h>

#include "train/crc32c.h"
#include "train/experiment.h"
#include "train/saved_model.h"
#include "train/trainer.h"

namespace proxent {
namespace {

// Weights that one set of pictures found best must not be taken for another's choice.
void check_same_chooser(const Config& now, const Config& then, const std::filesystem::path& state) {
  Config began = now;
  began.run.protocol = then.run.protocol;
  began.run.fold = then.run.fold;
  began.run.val_classes = then.run.val_classes;
  began.run.choose_by = then.run.choose_by;
  const std::string changes = differences(now, began);
  check<UsageError>(changes.empty(), "run.resume: the best weights beside ", state.string(),
                    " were not chosen with ", changes, ". Go on without, or start a new run");
}

}  // namespace

std::string Trainer::fingerprint(const Dataset& dataset) {
  std::string lines;
  for (const Sample& sample : dataset.samples)
    lines += fmt::format("{}\n{}\n", std::filesystem::path(sample.path).filename().string(),
                         sample.label);
  return fmt::format("{} pictures, {:08x}", dataset.size(), crc32c(lines));
}

CheckpointInfo Trainer::checkpoint_info(Selection selection) const {
  CheckpointInfo info{.arch = config_.model.arch,
                      .config = to_toml(config_),
                      .step = progress_.step,
                      .epoch = progress_.epoch,
                      .selection = std::string(name_of(selection))};
  if (progress_.best) {
    info.metric = chooser_ + (config_.run.protocol == "paper" ? " (test)" : " (val)");
    info.value = *progress_.best;
  }
  return info;
}

TrainingState Trainer::state() {
  TrainingState state{.tensors = model_state(learner_.modules()), .texts = to_texts(progress_)};
  state.tensors.merge(learner_.optimizer->state());
  if (learner_.average) state.tensors.merge(learner_.average->state());
  state.texts["config"] = to_toml(config_);
  state.texts["seed"] = fmt::format("{}", config_.run.seed);
  state.texts["train_data"] = train_data_;
  return state;
}

void Trainer::save() {
  take_results(0);
  TensorMap weights;
  {
    UseAverage averaged(learner_.average.get());
    weights = weights_of(learner_.modules());
  }
  folder_.sync_logs();  // first: a state must not be of later steps than the logs
  checkpoints_.save_last(weights, checkpoint_info(Selection::last_epoch), state());
  rollbacks_ = 0;
}

void Trainer::resume(const std::filesystem::path& path) {
  const TrainingState saved = restore_from(path);
  seconds_before_ = progress_.seconds;
  const auto pictures = saved.texts.find("train_data");  // older states do not tell
  if (pictures != saved.texts.end() && pictures->second != train_data_)
    log_.warning(
        "the training pictures are not those that this run began with; what comes out is of both");
}

TrainingState Trainer::restore_from(const std::filesystem::path& path) {
  TrainingState saved =
      read_newest_state(path, [this](const std::string& reason) { log_.warning(reason); });
  const Progress progress = progress_of(saved.texts, path.string());
  const std::string seed = fmt::format("{}", config_.run.seed);
  const std::string began = saved.texts.contains("seed") ? saved.texts["seed"] : seed;
  check<UsageError>(seed == began, "run.resume: ", path.string(), " began with --seed ", began,
                    ", got ", seed,
                    ". The seed draws batches and the classes that are held out; go on with the "
                    "same, or start a new run");
  check<UsageError>(progress.step <= total_steps_, "run.resume: ", path.string(), " has made ",
                    progress.step, " steps, and ", total_steps_,
                    " are asked for. Give more --steps or --epochs, or start a new run");
  check<UsageError>(progress.batch < sampler_.batches_per_epoch(), "run.resume: ", path.string(),
                    " was saved after batch ", progress.batch, " of an epoch that has ",
                    sampler_.batches_per_epoch(),
                    " now. Go on with the batch size and the pictures that it began with");
  if (progress.best && saved.texts.contains("config"))
    check_same_chooser(config_, config_from_toml(saved.texts["config"], path.string()), path);
  TrainingState present = state();
  restore(present.tensors, saved.tensors, path.string());
  progress_ = progress;
  if (config_.optim.sched == "plateau") schedule_.milestones = progress_.lr_drops;
  folder_.go_on_after(progress_.step, progress_.owes_evaluation);
  return saved;
}

std::optional<Selection> Trainer::load_best() {
  if (!std::filesystem::exists(checkpoints_.best_weights())) return std::nullopt;
  load_weights(learner_.modules(), checkpoints_.best_weights());
  learner_.average.reset();  // the file holds the averages: evaluation must not swap them away
  return find_saved_model(checkpoints_.best_weights()).selection;
}

}  // namespace proxent
