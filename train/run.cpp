#include "train/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>

#include "train/atomic_file.h"
#include "train/device.h"
#include "train/exit_code.h"
#include "train/experiment.h"
#include "train/final_test.h"
#include "train/html_report.h"
#include "train/memory_plan.h"
#include "train/profiled_steps.h"
#include "train/resuming.h"
#include "train/run_header.h"
#include "train/signals.h"
#include "train/text.h"
#include "train/trainer.h"
#include "train/version.h"

namespace proxent {
namespace {

std::string run_name(const Config& config) {
  if (!config.run.name.empty()) return config.run.name;
  std::string name = fmt::format("{}_s{}", experiment_name(config), config.run.seed);
  if (config.run.protocol == "mlrc") name += fmt::format("_f{}", fold_of(config.run).index);
  return name;
}

// A dry run leaves nothing behind: its folder is removed with this object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "proxent-dry-run-XXXXXX").string();
    check(mkdtemp(pattern.data()) != nullptr, "dry run: cannot make a folder like ", pattern);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

// `state`: that it goes on from; empty: none.
RunFolder open_folder(const Config& config, const std::filesystem::path& state,
                      const std::optional<TemporaryFolder>& dry) {
  const RunFolderOptions options{.out = dry ? dry->path() + "/run" : config.run.out,
                                 .name = run_name(config),
                                 .metrics = metric_names(metric_choice(config.run.metrics)),
                                 .has_events = config.log.tensorboard};
  if (!state.empty()) return RunFolder::resume(folder_of_state(state).string(), options.metrics);
  // With "auto", a run that was killed before its first checkpoint starts over in its folder.
  if (config.run.resume == "auto" && std::filesystem::exists(config.run.out + "/run.json")) {
    check_may_start_over(config.run.out);
    return RunFolder::start_over(options);
  }
  return RunFolder::create(options);
}

Json data_record(const Task& task) {
  return Json::object(
      {{"description", task.description},
       {"train", task.train.describe()},
       {"validation", task.validation.is_empty() ? Json() : Json(task.validation.describe())},
       {"test", task.test.is_empty() ? Json() : Json(task.test.describe())},
       {"train_transform", task.train_transform.describe()},
       {"eval_transform", task.eval_transform.describe()},
       {"jpeg_decoder", jpeg_decoder_name(task.train.decode)}});
}

// Planning builds the model once more, so only where somebody reads it.
void show_header(Log& log, const Config& config, Device device, const Task& task,
                 const Trainer& trainer, const RunFolder& folder) {
  if (config.log.quiet) return;
  log.info(run_header(config, task,
                      {.folder = folder.path(),
                       .steps = trainer.total_steps(),
                       .steps_per_epoch = trainer.steps_per_epoch(),
                       .device = describe(device),
                       .memory = memory_plan_text(config, task.train, device),
                       .parameter_groups = trainer.parameter_groups()},
                      log.width()));
  for (const std::string& line : advice(config, task, trainer.total_steps()))
    log.info(yellow("advice: ") + line);
  if (trainer.load_report()) log.info(trainer.load_report()->text());
  for (const std::string& block : trainer.identity_blocks())
    log.info("  " + block + " starts as its shortcut: its branch is new, its last gamma 0");
}

// First and last picture of each class: a wrong path or a broken file shows before hours of
// training. What training would skip is told and skipped.
void check_pictures(const Dataset& dataset, OnBadImage on_bad_image, Log& log) {
  const auto look_at = [&](std::int64_t index) {
    try {
      dataset.load(index);
    } catch (const DataError& error) {
      if (on_bad_image == OnBadImage::stop) throw;
      log.warning("will be left out: " + error.message());
    }
  };
  for (const auto& samples : dataset.samples_by_class()) {
    if (samples.empty()) continue;
    look_at(samples.front());
    if (samples.size() > 1) look_at(samples.back());
  }
}

Config dry_run_of(Config config) {
  config.run.steps = 1;
  config.run.resume.clear();  // it goes on with nothing, and leaves runs alone
  config.debug.profile_steps.clear();
  config.run.limit_test = std::min<std::int64_t>(config.batch.pictures(), 64);
  return config;
}

void report_bad_images(const Trainer& trainer, RunFolder& folder, Log& log) {
  const std::vector<std::string> bad = trainer.bad_images();
  Json& record = folder.record()["bad_images"];
  record = Json::object({{"count", std::ssize(bad)}, {"reasons", Json::array()}});
  for (const std::string& reason : bad) record["reasons"].push_back(reason);
  if (bad.empty()) return;
  log.warning(counted(std::ssize(bad), "picture", "pictures") +
              " could not be read; training took others, evaluations left them out:\n  " +
              join(bad, "\n  "));
}

// Into the folder: what runs here from now on.
void begin_sitting(const Config& config, const std::vector<std::string>& arguments,
                   const Task& task, Device device, RunFolder& folder) {
  folder.write_command_line(arguments);
  folder.write_config(to_toml(config));
  folder.record()["build"] = version_json();
  folder.record()["data"] = data_record(task);
  folder.record()["device"] = describe(device);
  folder.record()["seed"] = config.run.seed;
  folder.set_status("running");
}

// The last word of a run, "done" or why it was stopped. The page shows it, and can be made again.
void end_sitting(const Config& config, std::string_view status, std::string_view reason,
                 RunFolder& folder, Log& log) {
  folder.set_status(status, reason);
  if (!config.log.report || config.debug.dry_run) return;
  try {
    write_file_atomically(folder.file(kReportFile), html_report({folder.path()}));
    log.info("curves, settings and pictures: " + folder.file(kReportFile));
  } catch (const Error& error) {  // no reason to call the run failed
    log.warning("no page was written: " + error.message() + "; proxent report html " +
                folder.path() + " makes it");
  }
}

int train(const Config& config, const std::filesystem::path& state, Device device, const Task& task,
          RunFolder& folder, Log& log, const std::function<void()>& begin) {
  Trainer trainer(config, device, task, folder, log);
  if (const LoadReport* report = trainer.load_report(); report && report->trailing_bytes > 0)
    log.warning(detail::concat(report->origin, ": ", report->trailing_bytes,
                               " bytes follow the last tensor; they are not read"));
  show_header(log, config, device, task, trainer, folder);
  if (config.debug.overfit_batch)
    log.warning(
        "--overfit-batch learns one batch by heart: its losses tell that training works, and are "
        "no results");
  std::optional<Baselines> baselines;
  if (config.run.baselines && !task.test.is_empty())
    baselines =
        measure_baselines(config, task, trainer, log);  // of the network before any training
  if (!state.empty()) {
    trainer.resume(state);
    check_changes(config, device, trainer, folder, log);
    begin();  // not before the state was taken: a run that is refused stays as it was
  }
  const TrainOutcome outcome = trainer.run();
  if (!outcome.is_finished) {
    report_bad_images(trainer, folder, log);
    log.result(fmt::format(
        "stopped early ({}) at step {} of {}; go on with: proxent train --resume {}",
        outcome.stop_reason, trainer.progress().step, trainer.total_steps(), folder.path()));
    end_sitting(config, "killed", outcome.stop_reason, folder, log);
    return kStoppedEarly;
  }
  std::string last_line;
  if (config.debug.overfit_batch)
    log.result(fmt::format("one batch: loss {:.4f} -> {:.4f} in {} steps", outcome.first_loss,
                           outcome.last_loss, trainer.total_steps()));
  else
    last_line = report_test(config, run_name(config), task, trainer, folder, log, baselines);
  report_bad_images(trainer, folder, log);
  if (!outcome.stop_reason.empty())
    log.info(fmt::format("ended at step {} of {}: {}", trainer.progress().step,
                         trainer.total_steps(), outcome.stop_reason));
  if (const std::string found = trainer.milestones_found(); !found.empty())
    log.info("the learning rate fell on plateaus: --sched step --lr-milestones " + found +
             " falls there too; the best epoch was " +
             std::to_string(trainer.progress().best_epoch));
  end_sitting(config, "done", outcome.stop_reason, folder, log);
  if (!last_line.empty()) log.result(last_line);
  return kDone;
}

// train(), which tells of a batch that would fit when this one does not.
int train_within_memory(const Config& config, const std::filesystem::path& state, Device device,
                        const Task& task, RunFolder& folder, Log& log,
                        const std::function<void()>& begin) {
  try {
    return train(config, state, device, task, folder, log, begin);
  } catch (const OutOfMemory& error) {
    std::string plan;
    try {
      release_cached_memory(device);
      plan = memory_plan_text(config, task.train, device);
    } catch (const OutOfMemory&) {  // not even for a plan
    }
    fail<OutOfMemory>(error.what(), plan.empty() ? "" : "\n  planned: ", plan,
                      "\n  Choose a smaller --batch, --batch auto or --recompute block",
                      config.loss.memory > 0 ? ", or a smaller --memory" : "");
  }
}

// In the run's record, unless the failure is that nothing can be written.
void tell_failure(RunFolder& folder, const std::exception& error) {
  try {
    folder.set_status("failed", error.what());
  } catch (const Error&) {
  }
}

}  // namespace

int run_training(const Config& given, const std::vector<std::string>& arguments) {
  Config config = given.debug.dry_run ? dry_run_of(given) : given;
  check_config(config);
  const Device device = set_up_compute(config.run.device, config.run.threads);
  check_profiled(step_range(config.debug.profile_steps), device);
  Log log(terminal_on(Stream::error, config.log.color), config.log.quiet);
  SignalGuard signals;
  const std::filesystem::path state = state_to_resume(config.run);
  if (!state.empty()) settle_resumed(config, state);
  const Task task = open_task(config);
  if (!config.batch.size) config.batch.size = batch_that_fits(config, task.train, device);
  std::optional<TemporaryFolder> dry;
  if (config.debug.dry_run) {
    dry.emplace();
    if (given.run.resume.empty()) try_run_folder({.out = config.run.out, .name = run_name(config)});
    const OnBadImage on_bad_image = on_bad_image_from_name(config.data.on_bad_image);
    check_pictures(task.train, on_bad_image, log);
    check_pictures(task.test, on_bad_image, log);
  }
  RunFolder folder = open_folder(config, state, dry);
  log.copy_to(folder.file("log.txt"));
  bool has_begun = false;
  const auto begin = [&] {
    begin_sitting(config, arguments, task, device, folder);
    has_begun = true;
  };
  if (state.empty()) begin();
  try {
    const int code = train_within_memory(config, state, device, task, folder, log, begin);
    if (dry)
      log.result("dry run: data, folder, model, one step, evaluation and checkpoint all work");
    return code;
  } catch (const StopRequested&) {  // in an evaluation before or after training
    log.result(fmt::format("stopped early ({}); go on with: proxent train --resume auto --out {}",
                           stop_reason(), folder.path()));
    if (has_begun) end_sitting(config, "killed", stop_reason(), folder, log);
    return kStoppedEarly;
  } catch (const std::exception& error) {
    if (has_begun) tell_failure(folder, error);
    throw;
  }
}

}  // namespace proxent
