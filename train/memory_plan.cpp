#include "train/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/gpu.h"
#include "train/device.h"
#include "train/process_memory.h"
#include "train/text.h"

namespace proxent {
namespace {

// The loss of plain ops looks at its labels, which have no values here. It needs more memory; but
// it is for reading and tests.
Config planned(Config config) {
  config.loss.form = "fused";
  return config;
}

// Which block serves what depends on those that lie ready, so none may.
std::int64_t in_use() {
  release_cached_memory(Device::meta);
  return memory_report(Device::meta).in_use;
}

}  // namespace

MemoryPlanner::MemoryPlanner(const Config& config, std::int64_t classes, DType image_dtype)
    : image_size_(config.data.image_size),
      fixed_(-in_use()),
      learner_(planned(config), classes, Device::meta, image_dtype) {
  learner_.model->set_training(true);
  learner_.loss->set_training(true);
  plan(2);  // what the first step makes and the others keep
  fixed_ += in_use();
}

MemoryPlan MemoryPlanner::plan(std::int64_t batch) {
  const std::int64_t before = in_use();
  MemoryPlan plan{.batch = batch, .fixed = fixed_};
  const Tensor pictures({batch, image_size_, image_size_, 3}, DType::u8, Device::meta);
  const Tensor places({batch, 3}, DType::i32, Device::meta);
  const Tensor labels({batch}, DType::i32, Device::meta);
  const std::int64_t with_inputs = in_use();
  plan.inputs = 3 * (with_inputs - before);
  reset_memory_peak(Device::meta);
  learner_.step->run({pictures, places, labels}, 0);
  learner_.step->drop_results();
  learner_.optimizer->zero_gradients();
  plan.step = memory_report(Device::meta).peak - with_inputs;
  return plan;
}

bool MemoryPlanner::fits_into(std::int64_t bytes, std::int64_t batch) {
  try {
    return plan(batch).peak() <= bytes;
  } catch (const UsageError&) {  // too large for the loss: mining looks at all triplets
    return false;
  }
}

std::int64_t MemoryPlanner::largest_batch(std::int64_t bytes, std::int64_t multiple,
                                          std::int64_t most) {
  std::int64_t fits = 0, fails = most / multiple + 1;  // in multiples
  while (fails - fits > 1) {
    const std::int64_t middle = fits + (fails - fits) / 2;
    (fits_into(bytes, middle * multiple) ? fits : fails) = middle;
  }
  return fits * multiple;
}

std::int64_t usable_memory(Device device) {
  release_cached_memory(device);
  const MemoryReport report = memory_report(device);
  const std::int64_t free = device == Device::cuda ? gpu_memory().free : available_bytes();
  if (free == 0) return 0;
  const std::int64_t usable = (free + report.in_use) / 10 * 9;
  return report.limit > 0 ? std::min(report.limit, usable) : usable;
}

namespace {
// Of the batch: whole classes, or eights where there are that many pictures.
std::int64_t unit_of(const Config& config, const Dataset& train) {
  if (config.batch.sampler == "m-per-class") return config.batch.m;
  return train.size() < 8 ? 1 : 8;
}
}  // namespace

std::int64_t batch_that_fits(const Config& config, const Dataset& train, Device device) {
  MemoryPlanner planner(config, train.classes(), image_dtype_of(config.run.precision));
  const std::int64_t usable = usable_memory(device), unit = unit_of(config, train);
  check<UsageError>(usable > 0, "batch.size = auto: this system does not tell its free memory");
  const std::int64_t fits = planner.largest_batch(usable, unit, train.size());
  check<OutOfMemory>(fits > 0, "batch.size = auto: ", human_bytes(usable), " are free, a batch of ",
                     unit, " needs ", human_bytes(planner.plan(unit).peak()));
  return fits;
}

std::string memory_plan_text(const Config& config, const Dataset& train, Device device) {
  MemoryPlanner planner(config, train.classes(), image_dtype_of(config.run.precision));
  const MemoryPlan plan = planner.plan(config.batch.pictures());
  const std::int64_t usable = usable_memory(device);
  std::string text =
      fmt::format("{} for weights and optimizer, {} for a step of {}", human_bytes(plan.fixed),
                  human_bytes(plan.inputs + plan.step), plan.batch);
  if (usable > 0)
    text += fmt::format("; {} would hold a step of {}", human_bytes(usable),
                        human_count(planner.largest_batch(usable)));
  return text;
}

}  // namespace proxent
