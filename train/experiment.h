// What makes runs an experiment: the settings that they share, what they are called together, and a
// table that averages over them.
#pragma once

#include <string>
#include <vector>

#include "train/config.h"
#include "train/finished_run.h"
#include "train/result_table.h"

namespace proxent {

// The settings that make an experiment: the configuration without its seed, folder, name, time
// limit and all that changes no number. Runs with equal ones may be averaged over seeds.
Config experiment_of(Config config);
// A key with its value, as TOML and as people say it.
struct SettingValue {
  std::string name, toml, plain;
  bool operator==(const SettingValue&) const = default;
};
// Of every setting, in the order of the table.
std::vector<SettingValue> setting_values(const Config& config);
// "optim.lr = 0.1, not 0.2; ..." for each setting of which two configurations differ; empty if
// none.
std::string differences(const Config& a, const Config& b);

// What runs are called that differ in their seed alone: run.name, or "dataset_arch_loss".
std::string experiment_name(const Config& config);

// One row per experiment, in the order in which they come, averaged over its runs; rows are named
// by the settings in which they differ, a single one as its runs are. Columns are the metrics that
// every run has. Throws UsageError when there is no run, or one seed comes twice in an experiment.
ResultTable table_of_runs(const std::vector<FinishedRun>& runs, std::string title);

}  // namespace proxent
