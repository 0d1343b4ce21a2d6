#include "train/cross_validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "tensor/concat.h"
#include "tensor/normalize.h"
#include "train/atomic_file.h"
#include "train/clock.h"
#include "train/device.h"
#include "train/evaluation.h"
#include "train/exit_code.h"
#include "train/experiment.h"
#include "train/finished_run.h"
#include "train/log.h"
#include "train/provenance.h"
#include "train/run.h"
#include "train/run_folder.h"
#include "train/saved_model.h"
#include "train/signals.h"
#include "train/task.h"
#include "train/version.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

// One training of the whole.
struct Trial {
  std::int64_t seed = 0, fold = 0;
  Config config;  // with its folder in run.out
};

// What all trials share, as it stands in the folder's config.toml.
Config shared_config(const Config& config) {
  Config shared = experiment_of(config);
  shared.run.fold = fmt::format("0/{}", fold_of(config.run).count);
  return shared;
}

Config checked(Config config, const CrossValidationOptions& options) {
  const std::string& protocol = config.run.protocol;
  check<UsageError>(protocol != "none", "cv: protocol none evaluates nothing to compare");
  check<UsageError>(options.folds == 1 || protocol == "val" || protocol == "mlrc", "cv: --folds ",
                    options.folds,
                    " lets a held-out fold choose the epoch (protocol mlrc), which "
                    "contradicts --protocol ",
                    protocol, ". Give --folds 1 to keep it");
  check<UsageError>(options.folds > 1 || protocol != "mlrc",
                    "cv: --protocol mlrc needs --folds 2 or more (4 in the paper)");
  check<UsageError>(!config.debug.overfit_batch && config.run.resume.empty(),
                    "cv: --overfit-batch and --resume belong to train; the same cv command goes on "
                    "by itself");
  if (options.folds > 1) {
    config.run.protocol = "mlrc";
    config.run.fold = fmt::format("0/{}", options.folds);
  }
  check_config(config);
  return config;
}

// Empty where the folder holds this experiment, else what differs.
std::string difference_to(const fs::path& folder, const Config& shared) {
  return differences(config_of_run(folder), shared);
}

// The newest runs/DATE_NAME_cv of the same experiment; empty if there is none. Dates sort as text.
fs::path folder_to_go_on(const std::string& name, const Config& shared) {
  fs::path newest;
  if (!fs::is_directory("runs")) return newest;
  for (const fs::directory_entry& entry : fs::directory_iterator("runs")) {
    const std::string entry_name = entry.path().filename().string();
    const bool has_name = entry_name.find("_" + name) != std::string::npos;
    if (has_name && fs::exists(entry.path() / "config.toml") &&
        fs::exists(entry.path() / "cv.json") && entry.path() > newest &&
        difference_to(entry.path(), shared).empty())
      newest = entry.path();
  }
  return newest;
}

std::vector<Trial> trials_of(const Config& config, const CrossValidationOptions& options,
                             const std::string& folder) {
  std::vector<Trial> trials;
  for (std::int64_t s = 0; s < options.seeds; ++s)
    for (std::int64_t fold = 0; fold < options.folds; ++fold) {
      Trial trial{.seed = config.run.seed + s, .fold = fold, .config = config};
      const std::string name = options.folds == 1 ? fmt::format("seed{}", trial.seed)
                                                  : fmt::format("seed{}_fold{}", trial.seed, fold);
      RunConfig& run = trial.config.run;
      run.seed = trial.seed;
      if (options.folds > 1) run.fold = fmt::format("{}/{}", fold, options.folds);
      run.name = experiment_name(config) + "_" + name;
      run.out = folder + "/" + name;
      run.resume = "auto";
      trials.push_back(std::move(trial));
    }
  return trials;
}

std::string open_folder(const Config& config, const CrossValidationOptions& options,
                        const Config& shared) {
  const std::string name = experiment_name(config) + "_cv";
  std::string out =
      config.run.out.empty() ? folder_to_go_on(name, shared).string() : config.run.out;
  const bool has_begun = !out.empty() && fs::exists(fs::path(out) / "cv.json");
  if (has_begun && fs::exists(fs::path(out) / "config.toml")) {
    const std::string difference = difference_to(out, shared);
    check<UsageError>(difference.empty(), "cv: '", out, "' holds another experiment: ", difference,
                      ". Choose another --out");
    return out;
  }
  open_task(trials_of(config, options, out).front().config);  // what fails leaves no folder
  std::string folder = has_begun ? out : make_run_folder({.out = out, .name = name});
  write_file_atomically(folder + "/cv.json", "{}\n");  // marks it first; results replace it
  write_file_atomically(folder + "/config.toml", to_toml(shared));
  return folder;
}

// Each row divided by its length, so that every model has the same say.
Tensor joined(const std::vector<Tensor>& embeddings) {
  std::vector<Tensor> units;
  for (const Tensor& values : embeddings) units.push_back(normalize_rows(values).y);
  return concatenate(units, 1);
}

Selection selection_in(const std::vector<Trial>& trials) {
  std::vector<Selection> selections;
  for (const Trial& trial : trials)
    selections.push_back(read_finished_run(trial.config.run.out).selection);
  return common_selection(selections);
}

// The test split through the chosen models of one seed's folds, judged as one model.
EvaluationResult judge_concatenated(const std::vector<Trial>& folds, Device device) {
  const Config& config = folds.front().config;
  const Dataset test = open_split(config, "test");
  const EmbedOptions options{.loader = loader_options_of(config, eval_transform_of(config.data)),
                             .batch = config.batch.pictures(),
                             .device = device};
  std::vector<Tensor> values;
  Embeddings found;
  for (const Trial& fold : folds) {
    const SavedModel saved = find_saved_model(fold.config.run.out);
    const auto model = load_saved_model(saved, config.model, device);
    found = embed(
        test, [&](const Variable& images) { return (*model)(images); }, options);
    values.push_back(found.values);
  }
  found.values = joined(values);
  return evaluate_embeddings(test, std::move(found), metric_choice(config.run.metrics)).result;
}

// Metrics of one seed's models together; computed once and kept beside them.
std::vector<MetricValue> concatenated_values(const std::string& folder,
                                             const std::vector<Trial>& folds, Log& log) {
  const Config& config = folds.front().config;
  const fs::path file = fmt::format("{}/seed{}_concatenated.json", folder, config.run.seed);
  if (!fs::exists(file)) {
    log.info(fmt::format("seed {}: the {} models' embeddings concatenated", config.run.seed,
                         folds.size()));
    const Device device = set_up_compute(config.run.device, config.run.threads);
    Json record = to_json(judge_concatenated(folds, device));
    record["provenance"] =
        provenance(config, selection_in(folds), {config.run.seed}, FoldUse::concatenated);
    write_file_atomically(file, record.text(2) + "\n");
  }
  return read_metrics(file, "", metric_names(metric_choice(config.run.metrics)));
}

// A metric that one fold could not compute has no mean.
std::vector<MetricValue> mean_values(const std::vector<Trial>& folds) {
  std::vector<MetricValue> mean;
  for (const Trial& fold : folds) {
    const std::vector<MetricValue> metrics = read_finished_run(fold.config.run.out).metrics;
    if (mean.empty())
      for (const MetricValue& metric : metrics) mean.push_back({metric.name, 0});
    for (std::size_t i = 0; i < metrics.size(); ++i) {
      mean[i].value += metrics[i].value / static_cast<double>(folds.size());
      if (mean[i].reason.empty()) mean[i].reason = metrics[i].reason;
    }
  }
  return mean;
}

ResultTable table_of(const std::vector<Trial>& trials, const CrossValidationOptions& options,
                     const std::string& folder, Log& log) {
  const Config& config = trials.front().config;
  const Selection selection = selection_in(trials);
  const bool has_folds = options.folds > 1;
  ResultRow separated{.name = has_folds ? "separated" : config.loss.name};
  ResultRow concatenated{.name = "concatenated"};
  for (auto first = trials.begin(); first != trials.end(); first += options.folds) {
    const std::vector<Trial> folds(first, first + options.folds);
    separated.add(first->seed, mean_values(folds));
    if (has_folds) concatenated.add(first->seed, concatenated_values(folder, folds, log));
  }
  separated.provenance =
      provenance(config, selection, separated.seeds, has_folds ? FoldUse::separated : FoldUse::one);
  ResultTable table{.title = fs::path(folder).filename().string(),
                    .metrics = metric_names(metric_choice(config.run.metrics)),
                    .rows = {separated}};
  if (!has_folds) return table;
  concatenated.provenance =
      provenance(config, selection, concatenated.seeds, FoldUse::concatenated);
  table.rows.push_back(std::move(concatenated));
  return table;
}

void write_results(const std::string& folder, const ResultTable& table,
                   const std::vector<Trial>& trials) {
  for (const char* format : {"md", "tex", "csv"})
    write_file_atomically(folder + "/table." + format, formatted(table, format));
  Json record = to_json(table);
  record["build"] = version_json();
  for (const Trial& trial : trials)
    record["runs"].push_back(Json::object(
        {{"seed", trial.seed}, {"fold", trial.config.run.fold}, {"folder", trial.config.run.out}}));
  write_file_atomically(folder + "/cv.json", record.text(2) + "\n");
}

// What is left of the whole's time; a zero limit stays none.
Duration time_left(const Duration& limit, const Stopwatch& watch) {
  if (limit.is_zero()) return limit;
  Duration left = limit;
  left.amount -= watch.seconds();
  return left;
}

// Why the trials ended before their end; empty when all are done.
std::string run_trials(std::vector<Trial>& trials, const std::vector<std::string>& arguments,
                       Log& log) {
  const Stopwatch watch;
  const Duration limit = trials.front().config.run.time_limit;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    Config& config = trials[i].config;
    if (status_of_run(config.run.out) == "done") continue;
    config.run.time_limit = time_left(limit, watch);
    if (stop_requested()) return stop_reason();
    if (!limit.is_zero() && config.run.time_limit.amount <= 0) return "time limit";
    log.result(fmt::format("run {} of {}: {}", i + 1, trials.size(), config.run.out));
    if (run_training(config, arguments) != kDone)
      return stop_requested() ? stop_reason() : "time limit";
  }
  return "";
}

}  // namespace

int run_cross_validation(const Config& given, const CrossValidationOptions& options,
                         const std::vector<std::string>& arguments) {
  const Config config = checked(given, options);
  if (config.debug.dry_run) {
    Config trial = config;
    if (fs::exists(fs::path(config.run.out) / "cv.json")) trial.run.out.clear();  // it goes on
    return run_training(trial, arguments);
  }
  Log log(terminal_on(Stream::error, config.log.color), config.log.quiet);
  SignalGuard signals;
  const std::string folder = open_folder(config, options, shared_config(config));
  log.info(fmt::format("{} x {} runs below {}", counted(options.folds, "fold", "folds"),
                       counted(options.seeds, "seed", "seeds"), folder));
  std::vector<Trial> trials = trials_of(config, options, folder);
  const std::string stopped = run_trials(trials, arguments, log);
  if (!stopped.empty()) {
    const auto done = std::count_if(trials.begin(), trials.end(), [](const Trial& trial) {
      return status_of_run(trial.config.run.out) == "done";
    });
    log.result(
        fmt::format("stopped early ({}) with {} of {} runs done; the same command with "
                    "--out {} goes on",
                    stopped, done, trials.size(), folder));
    return kStoppedEarly;
  }
  const ResultTable table = table_of(trials, options, folder, log);
  write_results(folder, table, trials);
  print_out(terminal_text(table, terminal_on(Stream::out).columns()));
  log.info("tables: " + folder + "/table.md, table.tex, table.csv; all numbers: cv.json");
  return kDone;
}

}  // namespace proxent
