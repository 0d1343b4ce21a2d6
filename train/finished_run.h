// Runs read back from their folders, to be put beside each other.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train/config.h"
#include "train/metrics_text.h"
#include "train/result_table.h"

namespace proxent {

struct FinishedRun {
  std::filesystem::path folder;
  Config config;
  std::vector<double>
      values;  // as shares, of the metrics that run.metrics names; NaN: not computed
  Selection selection = Selection::last_epoch;  // of the weights that the values are of
};

// Of a mean over runs: theirs, or last_epoch where in some of them no evaluation could choose.
Selection common_selection(const std::vector<Selection>& selections);

// "running", "done", "failed" or "killed", as the run's run.json says; empty without one. Throws
// DataError when the file is damaged.
std::string status_of_run(const std::filesystem::path& folder);
// Its config.toml. Throws DataError when there is none.
Config config_of_run(const std::filesystem::path& folder);
// Throws DataError when the run is not done or holds no result on a test split.
FinishedRun read_finished_run(const std::filesystem::path& folder);
// These metrics as to_json(EvaluationResult) wrote them: the object at `member` of a JSON file, or
// the whole file. Throws DataError when it is not there.
std::vector<double> read_metrics(const std::filesystem::path& file, const std::string& member,
                                 const std::vector<std::string>& names);

// The settings that make an experiment: the configuration without its seed, folder, name, time
// limit and all that changes no number. Runs with equal ones may be averaged over seeds.
Config experiment_of(Config config);
// "optim.lr = 0.1, not 0.2; ..." for each setting of which two configurations differ; empty if
// none.
std::string differences(const Config& a, const Config& b);

// One row per experiment, in the order in which they come, averaged over its runs; rows are named
// by the settings in which they differ, a single one as its runs are. Columns are the metrics that
// every run has. Throws UsageError when there is no run, or one seed comes twice in an experiment.
ResultTable table_of_runs(const std::vector<FinishedRun>& runs, std::string title);

}  // namespace proxent
