// The same training over several seeds and, for protocol mlrc, over class-disjoint folds: one run
// after the other, each in its own folder, and a table of what they say together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/config.h"

namespace proxent {

struct CrossValidationOptions {
  // 1: no folds, the configuration's own protocol. More: protocol mlrc with so many folds.
  std::int64_t folds = 1;
  std::int64_t seeds = 5;  // run.seed and those after it
};

// Trains folds x seeds runs below one folder (run.out, or runs/DATE_NAME_cv) as seedS or
// seedS_foldF, and judges each run's chosen weights on the test split. With folds the numbers of a
// seed are
//   separated     the mean over its folds' models (Musgrave et al. 2020, section 3.3)
//   concatenated  of the F embeddings of a picture, each divided by its length, set end to end
// Writes table.md, table.tex, table.csv and cv.json there, and prints the table on stdout. What is
// finished is not done again: the same call goes on in the newest folder of the same experiment
// (experiment.h) and name, also with more seeds. Returns kDone, or kStoppedEarly after a signal
// or run.time_limit, which is of the whole. Throws UsageError when run.out holds another
// experiment, when there is nothing to judge (protocol none) or folds and protocol contradict.
int run_cross_validation(const Config& config, const CrossValidationOptions& options,
                         const std::vector<std::string>& arguments);

}  // namespace proxent
