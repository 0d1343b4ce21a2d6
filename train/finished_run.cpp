#include "train/finished_run.h"

#include <optional>

#include "tensor/check.h"
#include "train/evaluation.h"
#include "train/input_file.h"
#include "train/json.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

// The text at a key of `record`, which `file` holds.
std::string text_at(const Json& record, std::string_view key, const fs::path& file) {
  const Json* value = record.find(key);
  check<DataError>(value && value->string(), file.string(), ": damaged, there is no text at '", key,
                   "'");
  return *value->string();
}

// Why a metric has no value; files of older versions do not always say.
std::string reason_at(const Json& result, const std::string& name) {
  const Json* reasons = result.find("reasons");
  const Json* reason = reasons && reasons->is_object() ? reasons->find(name) : nullptr;
  return reason && reason->string() ? *reason->string() : "the reason was not recorded";
}

}  // namespace

Json record_of_run(const fs::path& folder) {
  check<DataError>(fs::exists(folder / "run.json"), folder.string(),
                   ": no run of proxent lies here (run.json is missing)");
  return read_json(folder / "run.json");
}

std::string status_of_run(const fs::path& folder) {
  const fs::path file = folder / "run.json";
  return fs::exists(file) ? text_at(read_json(file), "status", file) : "";
}

Config config_of_run(const fs::path& folder) {
  const fs::path toml = folder / "config.toml";
  return config_from_toml(read_text(toml), toml.string());
}

std::vector<MetricValue> metrics_at(const Json& record, const std::string& member,
                                    const fs::path& file, const std::vector<std::string>& names) {
  const Json* result = member.empty() ? &record : record.find(member);
  check<DataError>(result && result->is_object(), file.string(), ": there is no result under '",
                   member, "'; was there a test split, and a --protocol other than none?");
  std::vector<MetricValue> metrics;
  for (const std::string& name : names) {
    const Json* found = result->find(name);
    const std::optional<double> value = found ? found->number() : std::nullopt;
    if (value)
      metrics.push_back({name, *value});
    else
      metrics.push_back({.name = name, .reason = reason_at(*result, name)});
  }
  return metrics;
}

std::vector<MetricValue> read_metrics(const fs::path& file, const std::string& member,
                                      const std::vector<std::string>& names) {
  return metrics_at(read_json(file), member, file, names);
}

FinishedRun read_finished_run(const fs::path& folder) {
  const fs::path file = folder / "run.json";
  const Json record = record_of_run(folder);
  const std::string status = text_at(record, "status", file);
  check<DataError>(status == "done", folder.string(), ": the run is not done but ", status,
                   "; go on with: proxent train --resume ", folder.string());
  FinishedRun run{.folder = folder, .config = config_of_run(folder)};
  const MetricChoice choice = metric_choice(run.config.run.metrics);
  run.metrics = metrics_at(record, "test", file, metric_names(choice));
  run.selection = selection_from_name(text_at(record, "selection", file), file.string());
  return run;
}

}  // namespace proxent
