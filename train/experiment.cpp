#include "train/experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "tensor/check.h"
#include "train/config_table.h"
#include "train/evaluation.h"
#include "train/loss.h"
#include "train/provenance.h"
#include "train/text.h"

namespace proxent {
namespace {

// What the data is called in the run's name: its folder, or the set that needs none.
std::string data_name(const DataConfig& config) {
  if (config.path.empty()) return config.dataset == "auto" ? "glyphs" : config.dataset;
  return std::filesystem::weakly_canonical(config.path).filename().string();
}

// Runs that differ in nothing that changes their numbers but the seed.
struct Experiment {
  Config config;
  std::vector<const FinishedRun*> runs;
};

std::vector<Experiment> experiments_of(const std::vector<FinishedRun>& runs) {
  std::vector<Experiment> experiments;
  for (const FinishedRun& run : runs) {
    const Config config = experiment_of(run.config);
    const auto same =
        std::find_if(experiments.begin(), experiments.end(), [&](const Experiment& experiment) {
          return setting_values(experiment.config) == setting_values(config);
        });
    if (same == experiments.end())
      experiments.push_back({config, {&run}});
    else
      same->runs.push_back(&run);
  }
  return experiments;
}

// What tells each from the others: "loss.proxies = 4, optim.lr = 1e-3".
std::vector<std::string> names_of(const std::vector<Experiment>& experiments) {
  std::vector<std::vector<SettingValue>> values;
  for (const Experiment& experiment : experiments)
    values.push_back(setting_values(experiment.config));
  std::vector<std::vector<std::string>> parts(experiments.size());
  for (std::size_t key = 0; key < values[0].size(); ++key) {
    const bool differs = std::any_of(values.begin(), values.end(), [&](const auto& of_one) {
      return of_one[key].toml != values[0][key].toml;
    });
    for (std::size_t i = 0; differs && i < values.size(); ++i)
      parts[i].push_back(values[i][key].name + " = " + values[i][key].plain);
  }
  std::vector<std::string> names;
  for (std::size_t i = 0; i < parts.size(); ++i) names.push_back(join(parts[i], ", "));
  if (names.size() > 1) return names;
  // A name that only one of them has says nothing of the others.
  const auto& runs = experiments[0].runs;
  Config config = runs[0]->config;
  const bool is_shared = std::all_of(runs.begin(), runs.end(), [&](const FinishedRun* run) {
    return run->config.run.name == config.run.name;
  });
  if (!is_shared) config.run.name.clear();
  return {experiment_name(config)};
}

// The first run's, as far as all have them.
std::vector<std::string> common_metrics(const std::vector<FinishedRun>& runs) {
  std::vector<std::string> common;
  for (const MetricValue& metric : runs[0].metrics)
    if (std::ranges::all_of(runs, [&](const FinishedRun& run) {
          return std::ranges::find(run.metrics, metric.name, &MetricValue::name) !=
                 run.metrics.end();
        }))
      common.push_back(metric.name);
  return common;
}

std::vector<MetricValue> values_of(const FinishedRun& run,
                                   const std::vector<std::string>& metrics) {
  std::vector<MetricValue> values;
  for (const std::string& name : metrics)
    values.push_back(*std::ranges::find(run.metrics, name, &MetricValue::name));
  return values;
}

ResultRow row_of(const Experiment& experiment, std::string name,
                 const std::vector<std::string>& metrics) {
  ResultRow row{.name = std::move(name)};
  std::set<std::int64_t> seen;
  for (const FinishedRun* run : experiment.runs) {
    check<UsageError>(seen.insert(run->config.run.seed).second, run->folder.string(),
                      ": another run has the same settings and seed ", run->config.run.seed,
                      "; a mean over both would count it twice. Name one of them");
    row.add(run->config.run.seed, values_of(*run, metrics));
  }
  std::vector<Selection> selections;
  for (const FinishedRun* run : experiment.runs) selections.push_back(run->selection);
  row.provenance = provenance(experiment.config, common_selection(selections), row.seeds);
  return row;
}

}  // namespace

Config experiment_of(Config config) {
  const Config defaults;
  RunConfig& run = config.run;
  run.seed = defaults.run.seed;
  run.out = run.name = run.resume = {};
  run.time_limit = {};
  run.save_every = defaults.run.save_every;
  run.keep_last = defaults.run.keep_last;
  run.baselines = defaults.run.baselines;
  run.threads = {};
  if (run.protocol != "mlrc") run.fold = defaults.run.fold;
  if (run.protocol != "val") run.val_classes = defaults.run.val_classes;
  config.data.workers = {};
  config.data.prefetch = defaults.data.prefetch;
  config.data.cache = defaults.data.cache;
  config.log = {};
  config.debug = {};
  config.loss = without_idle_keys(config.loss);
  return config;
}

std::vector<SettingValue> setting_values(const Config& config) {
  const ConfigTable table(config);
  std::vector<SettingValue> values;
  for (const Setting& row : table.rows())
    values.push_back({row.name(), row.value_text(), row.plain_text()});
  return values;
}

std::string differences(const Config& a, const Config& b) {
  const auto values_a = setting_values(a), values_b = setting_values(b);
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < values_a.size(); ++i)
    if (values_a[i].toml != values_b[i].toml)
      parts.push_back(values_a[i].name + " = " + values_a[i].toml + ", not " + values_b[i].toml);
  return join(parts, "; ");
}

std::string experiment_name(const Config& config) {
  if (!config.run.name.empty()) return config.run.name;
  return fmt::format("{}_{}_{}", data_name(config.data), config.model.arch, config.loss.name);
}

ResultTable table_of_runs(const std::vector<FinishedRun>& runs, std::string title) {
  check<UsageError>(!runs.empty(), "table: there is no finished run");
  ResultTable table{.title = std::move(title), .metrics = common_metrics(runs)};
  const std::vector<Experiment> experiments = experiments_of(runs);
  const std::vector<std::string> names = names_of(experiments);
  for (std::size_t i = 0; i < experiments.size(); ++i)
    table.rows.push_back(row_of(experiments[i], names[i], table.metrics));
  return table;
}

}  // namespace proxent
