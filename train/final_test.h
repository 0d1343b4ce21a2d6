// The numbers that a run is made for: the test split, looked at once, beside what the trained
// network must beat.
#pragma once

#include <optional>
#include <string>

#include "train/config.h"
#include "train/evaluation.h"
#include "train/log.h"
#include "train/run_folder.h"
#include "train/task.h"
#include "train/trainer.h"

namespace proxent {

// What the trained network must beat: plain pixels, and itself before training.
struct Baselines {
  EvaluationResult pixels, untrained;
  std::string pixels_origin, untrained_origin;  // their provenance
};

// Of a trainer that has made no step; told in the log.
Baselines measure_baselines(const Config& config, const Task& task, Trainer& trainer, Log& log);

// Evaluates the test split with the weights that the protocol chose: into the log, run.json and, as
// pictures of queries and what they found, retrieval.png. Returns the line that sums it up, which
// `name` opens; empty where nothing was tested.
std::string report_test(const Config& config, const std::string& name, const Task& task,
                        Trainer& trainer, RunFolder& folder, Log& log,
                        const std::optional<Baselines>& baselines);

}  // namespace proxent
