// Runs read back from their folders, to be put beside each other.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train/config.h"
#include "train/json.h"
#include "train/metric_value.h"
#include "train/selection.h"

namespace proxent {

struct FinishedRun {
  std::filesystem::path folder;
  Config config;
  std::vector<MetricValue> metrics;             // those that run.metrics names
  Selection selection = Selection::last_epoch;  // of the weights that the values are of
};

// Its run.json. Throws DataError when there is none or it is damaged.
Json record_of_run(const std::filesystem::path& folder);
// "running", "done", "failed" or "killed", as the run's run.json says; empty without one. Throws
// DataError when the file is damaged.
std::string status_of_run(const std::filesystem::path& folder);
// Its config.toml. Throws DataError when there is none.
Config config_of_run(const std::filesystem::path& folder);
// Throws DataError when the run is not done or holds no result on a test split.
FinishedRun read_finished_run(const std::filesystem::path& folder);
// These metrics as to_json(EvaluationResult) wrote them: at `member` of what a JSON file holds, or
// of the whole for an empty one. Throws DataError, naming the file, when there is no such result.
std::vector<MetricValue> metrics_at(const Json& record, const std::string& member,
                                    const std::filesystem::path& file,
                                    const std::vector<std::string>& names);
std::vector<MetricValue> read_metrics(const std::filesystem::path& file, const std::string& member,
                                      const std::vector<std::string>& names);

}  // namespace proxent
