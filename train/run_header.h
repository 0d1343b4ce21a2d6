// What a run prints before its first step: what it will do, with which settings, and advice.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/config.h"
#include "train/task.h"

namespace proxent {

struct RunFacts {
  std::string folder;
  std::int64_t steps = 0, steps_per_epoch = 0;
  std::string device;  // and threads, as describe(Device) says it
  std::string memory;  // memory_plan_text
  std::vector<std::vector<std::string>> parameter_groups;  // Optimizer::table(): heads, then rows
};

// Boxed tables: run, data, parameters. '*' marks each setting that is not the default.
std::string run_header(const Config& config, const Task& task, const RunFacts& facts, int width);

// What somebody who knows the method would say about these settings; often nothing.
std::vector<std::string> advice(const Config& config, const Task& task, std::int64_t steps);

}  // namespace proxent
