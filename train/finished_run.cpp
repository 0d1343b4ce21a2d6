#include "train/finished_run.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>

#include "tensor/check.h"
#include "train/atomic_file.h"
#include "train/config_table.h"
#include "train/evaluation.h"
#include "train/json.h"
#include "train/loss.h"
#include "train/provenance.h"
#include "train/run.h"
#include "train/text.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

// The text at a key of run.json.
std::string text_at(std::string_view key, const fs::path& record) {
  const Json json = read_json(record);
  const Json* value = json.find(key);
  check<DataError>(value && value->string(), record.string(), ": damaged, there is no text at '",
                   key, "'");
  return *value->string();
}

// Every key with its value as TOML.
std::vector<std::pair<std::string, std::string>> setting_values(const Config& config) {
  Config copy = config;
  Settings settings;
  add_config(settings, copy);
  std::vector<std::pair<std::string, std::string>> values;
  for (const Setting& row : settings.rows()) values.emplace_back(row.name(), row.value_text());
  return values;
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
  std::vector<std::vector<std::pair<std::string, std::string>>> values;
  for (const Experiment& experiment : experiments)
    values.push_back(setting_values(experiment.config));
  std::vector<std::vector<std::string>> parts(experiments.size());
  for (std::size_t key = 0; key < values[0].size(); ++key) {
    const bool differs = std::any_of(values.begin(), values.end(), [&](const auto& of_one) {
      return of_one[key].second != values[0][key].second;
    });
    for (std::size_t i = 0; differs && i < values.size(); ++i)
      parts[i].push_back(values[i][key].first + " = " + unquoted(values[i][key].second));
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

std::vector<std::string> metrics_of(const FinishedRun& run) {
  return metric_names(metric_choice(run.config.run.metrics));
}

// The first run's, as far as all have them.
std::vector<std::string> common_metrics(const std::vector<FinishedRun>& runs) {
  std::vector<std::string> common = metrics_of(runs[0]);
  for (const FinishedRun& run : runs) {
    const std::vector<std::string> names = metrics_of(run);
    std::erase_if(common, [&](const std::string& name) {
      return std::find(names.begin(), names.end(), name) == names.end();
    });
  }
  return common;
}

double value_of(const FinishedRun& run, const std::string& metric) {
  const std::vector<std::string> names = metrics_of(run);
  return run.values[std::find(names.begin(), names.end(), metric) - names.begin()];
}

ResultRow row_of(const Experiment& experiment, std::string name,
                 const std::vector<std::string>& metrics) {
  ResultRow row{.name = std::move(name)};
  std::set<std::int64_t> seen;
  for (const FinishedRun* run : experiment.runs) {
    check<UsageError>(seen.insert(run->config.run.seed).second, run->folder.string(),
                      ": another run has the same settings and seed ", run->config.run.seed,
                      "; a mean over both would count it twice. Name one of them");
    row.seeds.push_back(run->config.run.seed);
  }
  std::vector<Selection> selections;
  for (const FinishedRun* run : experiment.runs) selections.push_back(run->selection);
  for (const std::string& metric : metrics) {
    row.values.emplace_back();
    for (const FinishedRun* run : experiment.runs)
      row.values.back().push_back(value_of(*run, metric));
  }
  row.provenance = provenance(experiment.config, common_selection(selections), row.seeds);
  return row;
}

}  // namespace

Selection common_selection(const std::vector<Selection>& selections) {
  const bool is_common = std::ranges::all_of(
      selections, [&](Selection selection) { return selection == selections.front(); });
  return is_common && !selections.empty() ? selections.front() : Selection::last_epoch;
}

std::string status_of_run(const fs::path& folder) {
  if (!fs::exists(folder / "run.json")) return "";
  return text_at("status", folder / "run.json");
}

Config config_of_run(const fs::path& folder) {
  const fs::path toml = folder / "config.toml";
  return config_from_toml(read_text(toml), toml.string());
}

std::vector<double> read_metrics(const fs::path& file, const std::string& member,
                                 const std::vector<std::string>& names) {
  const Json json = read_json(file);
  const Json* record = member.empty() ? &json : json.find(member);
  check<DataError>(record && record->is_object(), file.string(), ": there is no result under '",
                   member, "'; was there a test split, and a --protocol other than none?");
  std::vector<double> values;
  for (const std::string& name : names) {
    const Json* found = record->find(name);
    const std::optional<double> value = found ? found->number() : std::nullopt;
    values.push_back(value.value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  return values;
}

FinishedRun read_finished_run(const fs::path& folder) {
  const std::string status = status_of_run(folder);
  check<DataError>(!status.empty(), folder.string(),
                   ": no run of proxent lies here (run.json is missing)");
  check<DataError>(status == "done", folder.string(), ": the run is not done but ", status,
                   "; go on with: proxent train --resume ", folder.string());
  FinishedRun run{.folder = folder, .config = config_of_run(folder)};
  const fs::path record = folder / "run.json";
  run.values = read_metrics(record, "test", metrics_of(run));
  run.selection = selection_from_name(text_at("selection", record), record.string());
  return run;
}

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

std::string differences(const Config& a, const Config& b) {
  const auto values_a = setting_values(a), values_b = setting_values(b);
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < values_a.size(); ++i)
    if (values_a[i].second != values_b[i].second)
      parts.push_back(values_a[i].first + " = " + values_a[i].second + ", not " +
                      values_b[i].second);
  return join(parts, "; ");
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
