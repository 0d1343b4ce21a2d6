// What a training step will hold in memory, known before the first one: a step on Device::meta
// allocates what a real one does and computes nothing.
#pragma once

#include <cstdint>
#include <string>

#include "data/dataset.h"
#include "train/learner.h"

namespace proxent {

// Bytes, in blocks of the pool's sizes. What libraries and kernels use as scratch comes on top.
struct MemoryPlan {
  std::int64_t batch = 0;
  std::int64_t fixed = 0;   // weights, gradients, moments, averages, running statistics
  std::int64_t inputs = 0;  // batches: two that arrive in turn, one that a recorded step reads
  std::int64_t step = 0;    // the most that a step holds beside them: activations and gradients
  std::int64_t peak() const { return fixed + inputs + step; }
};

class MemoryPlanner {
 public:
  // For config's model and loss over `classes` classes. Throws as Learner does.
  MemoryPlanner(const Config& config, std::int64_t classes, DType image_dtype);

  // Throws UsageError for a batch that the model refuses.
  MemoryPlan plan(std::int64_t batch);
  // The largest batch that model and loss take and of which the plan's peak is at most `bytes`, a
  // multiple of `multiple` from `multiple` to `most`; 0 if there is none.
  std::int64_t largest_batch(std::int64_t bytes, std::int64_t multiple = 1,
                             std::int64_t most = 1 << 16);

 private:
  bool fits_into(std::int64_t bytes, std::int64_t batch);

  std::int64_t image_size_;
  std::int64_t fixed_;
  Learner learner_;
};

// Bytes that a run may use on the device: what is free now and what its tensors hold already, less
// a tenth for scratch memory and fragments, and no more than the pool's limit. On the CPU that of
// Linux's MemAvailable, or what a container or `ulimit -v` leaves; 0 where it is unknown.
std::int64_t usable_memory(Device device);

// The batch that `--batch auto` stands for: the largest that usable_memory(device) holds, in whole
// classes of the sampler m-per-class, else in eights. Throws OutOfMemory if not even the smallest
// fits.
std::int64_t batch_that_fits(const Config& config, const Dataset& train, Device device);
// "1.2 GiB for weights and optimizer, 4.9 GiB for a step of 128; 70.1 GiB would hold a step of
// 1,816"
std::string memory_plan_text(const Config& config, const Dataset& train, Device device);

}  // namespace proxent
