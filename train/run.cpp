#include "train/run.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>

#include "train/atomic_file.h"
#include "train/device.h"
#include "train/diagnostics.h"
#include "train/evaluation_report.h"
#include "train/exit_code.h"
#include "train/experiment.h"
#include "train/finished_run.h"
#include "train/memory_plan.h"
#include "train/metrics_text.h"
#include "train/profiled_steps.h"
#include "train/provenance.h"
#include "train/retrieval_grid.h"
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

// Its logs would be emptied.
void check_may_start_over(const std::string& folder) {
  const bool is_done = status_of_run(folder) == "done";
  const bool has_place = std::filesystem::is_directory(folder + "/ckpt");
  check<UsageError>(!is_done && has_place, "run.resume: the run in '", folder, "' ",
                    is_done ? "is done, and its checkpoints are gone"
                            : "has no folder ckpt: moved, or on a disk that is not there?",
                    ". Nothing was changed. Bring its ckpt/ back, or choose another --out");
}

RunFolder open_folder(const Config& config, const std::optional<TemporaryFolder>& dry) {
  const std::vector<std::string> metrics = metric_names(metric_choice(config.run.metrics));
  if (const auto state = state_to_resume(config.run); !state.empty())
    return RunFolder::resume(folder_of_state(state).string(), metrics);
  // With "auto", a run that was killed before its first checkpoint starts over in its folder.
  if (config.run.resume == "auto" && std::filesystem::exists(config.run.out + "/run.json")) {
    check_may_start_over(config.run.out);
    return RunFolder::start_over(config.run.out, metrics);
  }
  return RunFolder::create({.out = dry ? dry->path() + "/run" : config.run.out,
                            .name = run_name(config),
                            .metrics = metrics,
                            .has_events = config.log.tensorboard});
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

// What a run that goes on from `state` takes from when it began.
void settle_resumed(Config& config, const std::filesystem::path& state) {
  if (!config.batch.size)  // "auto" has been answered
    config.batch.size = config_of_run(folder_of_state(state)).batch.size;
  const std::string& weights = config.model.weights;
  check<DataError>(weights.empty() || std::filesystem::exists(weights), "model.weights: ", weights,
                   " is gone. The state holds every weight: --weights '' goes on without the file, "
                   "and what is called untrained at the end is then a network without it");
}

// What the trained network must beat: plain pixels, and itself before training.
struct Baselines {
  EvaluationResult pixels, untrained;
  std::string pixels_origin, untrained_origin;
};

Json to_json(const EvaluationResult& result, const std::string& origin) {
  Json record = to_json(result);
  record["provenance"] = origin;
  return record;
}

Baselines measure_baselines(const Config& config, const Task& task, Trainer& trainer, Log& log) {
  const Evaluation pixels = evaluate_pixels(task.test, trainer.embed_options(), trainer.metrics());
  Baselines baselines{.pixels = pixels.result,
                      .untrained = trainer.evaluate(task.test).result,
                      .pixels_origin = pixels_provenance(config, pixels.embeddings.values.dim(1)),
                      .untrained_origin = untrained_provenance(config)};
  const auto tell = [&](const std::string& name, const EvaluationResult& result,
                        const std::string& origin) {
    log.info(name + " │ " + metrics_text(metric_values(result)));
    log.info("          │ " + origin);
  };
  tell("pixels   ", baselines.pixels, baselines.pixels_origin);
  tell("untrained", baselines.untrained, baselines.untrained_origin);
  return baselines;
}

std::string summary(const std::string& name, const std::optional<Baselines>& baselines,
                    const EvaluationResult& trained, const std::string& origin) {
  const auto percent = [](const EvaluationResult& result, std::string_view metric) {
    const std::vector<MetricValue> values = metric_values(result);
    return percent_text(*std::ranges::find(values, metric, &MetricValue::name));
  };
  const auto row = [&](std::string_view metric) {
    std::string text = fmt::format("{} ", metric);
    if (baselines)
      text += fmt::format("pixels {} untrained {} ", percent(baselines->pixels, metric),
                          percent(baselines->untrained, metric));
    return text + "trained " + percent(trained, metric);
  };
  return fmt::format("{}: {} | {} | {}", name, row("R@1"), row("MAP@R"), origin);
}

// Of training pictures, by which the proxies are judged at the end.
constexpr std::int64_t kProxyPictures = 16384;

// Takes the weights that the protocol chose and says how they were chosen.
Selection take_chosen(const Task& task, Trainer& trainer, Log& log) {
  if (task.selection == Selection::last_epoch || trainer.load_best()) return task.selection;
  log.warning(
      "no evaluation could choose the weights, as no query had a match in any; these are the last "
      "ones. Classes that choose need two pictures or more");
  return Selection::last_epoch;
}

// The test set is looked at here, once, with the weights that the protocol chose.
void report_test(const Config& config, const Task& task, Trainer& trainer, RunFolder& folder,
                 Log& log, const std::optional<Baselines>& baselines) {
  if (config.run.protocol == "none") return;
  if (task.test.is_empty()) {
    log.result(
        "nothing was tested: the data have no test part; give one, or judge the weights by "
        "proxent eval " +
        folder.path() + " --data OTHER");
    return;
  }
  const Selection selection = take_chosen(task, trainer, log);
  const Evaluation test = trainer.evaluate(task.test);
  const EmbeddingDiagnostics diagnostics =
      diagnose_embeddings(test.embeddings.values, test.embeddings.labels);
  Json& record = folder.record();
  const std::string origin = provenance(config, selection, {config.run.seed});
  record["selection"] = name_of(selection);
  record["provenance"] = origin;
  record["test"] = to_json(test.result);
  add_diagnostics(record["test"], diagnostics);
  if (const auto proxies = trainer.diagnose_proxies(kProxyPictures)) {
    log.info("proxies │ " + to_text(*proxies));
    record["proxies"] = to_json(*proxies);
  }
  if (baselines) {
    record["pixels"] = to_json(baselines->pixels, baselines->pixels_origin);
    record["untrained"] = to_json(baselines->untrained, baselines->untrained_origin);
  }
  folder.save_record();
  log.result("test │ " + metrics_text(metric_values(test.result), selection));
  log.result("     │ " + origin);
  log.info(counts_text(test.result.retrieval));
  if (test.result.retrieval.queries > 0 && !config.debug.dry_run) {
    const std::string picture = folder.file("retrieval.png");
    write_picture_atomically(
        picture, retrieval_grid(task.test, test.embeddings, test.options, test.result.retrieval,
                                {.seed = static_cast<std::uint64_t>(config.run.seed)}));
    log.info("queries and their nearest pictures: " + picture);
  }
  log.result(summary(run_name(config), baselines, test.result, origin));
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

// What the bits of a run that was not stopped would not have been made with.
void tell_changes(const std::string& changes, Device device, RunFolder& folder, Log& log) {
  if (!changes.empty())
    log.warning("the run goes on with " + changes + "; what comes out is of both");
  const Json* then = folder.record().find("device");
  if (then && then->plain() != describe(device))
    log.warning("the run was trained on " + then->plain() + " and goes on with " +
                describe(device) +
                ", which may add in another order: its last bits will be others than those of a "
                "run that was not stopped");
}

int train(const Config& config, Device device, const Task& task, RunFolder& folder, Log& log,
          const std::function<void()>& begin) {
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
  if (const auto state = state_to_resume(config.run); !state.empty()) {
    trainer.resume(state);
    const std::string changes = new_settings(config, folder);
    check_nothing_new(changes, trainer, folder);
    tell_changes(changes, device, folder, log);
    begin();  // not before the state was taken: a run that is refused stays as it was
  }
  const TrainOutcome outcome = trainer.run();
  if (!outcome.is_finished) {
    report_bad_images(trainer, folder, log);
    log.result(fmt::format(
        "stopped early ({}) at step {} of {}; go on with: proxent train --resume {}",
        outcome.stop_reason, trainer.progress().step, trainer.total_steps(), folder.path()));
    folder.set_status("killed", outcome.stop_reason);
    return kStoppedEarly;
  }
  if (config.debug.overfit_batch)
    log.result(fmt::format("one batch: loss {:.4f} -> {:.4f} in {} steps", outcome.first_loss,
                           outcome.last_loss, trainer.total_steps()));
  else
    report_test(config, task, trainer, folder, log, baselines);
  report_bad_images(trainer, folder, log);
  if (!outcome.stop_reason.empty())
    log.info(fmt::format("ended at step {} of {}: {}", trainer.progress().step,
                         trainer.total_steps(), outcome.stop_reason));
  folder.set_status("done", outcome.stop_reason);
  return kDone;
}

// train(), which tells of a batch that would fit when this one does not.
int train_within_memory(const Config& config, Device device, const Task& task, RunFolder& folder,
                        Log& log, const std::function<void()>& begin) {
  try {
    return train(config, device, task, folder, log, begin);
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
  RunFolder folder = open_folder(config, dry);
  log.copy_to(folder.file("log.txt"));
  bool has_begun = false;
  const auto begin = [&] {
    begin_sitting(config, arguments, task, device, folder);
    has_begun = true;
  };
  if (state.empty()) begin();
  try {
    const int code = train_within_memory(config, device, task, folder, log, begin);
    if (dry)
      log.result("dry run: data, folder, model, one step, evaluation and checkpoint all work");
    return code;
  } catch (const StopRequested&) {  // in an evaluation before or after training
    log.result(fmt::format("stopped early ({}); go on with: proxent train --resume auto --out {}",
                           stop_reason(), folder.path()));
    if (has_begun) folder.set_status("killed", stop_reason());
    return kStoppedEarly;
  } catch (const std::exception& error) {
    if (has_begun) tell_failure(folder, error);
    throw;
  }
}

}  // namespace proxent
