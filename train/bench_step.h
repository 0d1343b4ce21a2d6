// `proxent bench step`: the time and memory of one training step of a ResNet classifier, the work
// that bench/torch_step.py does in PyTorch.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/device.h"

namespace proxent {

struct BenchStepOptions {
  std::string arch = "resnet18";  // resnet18 ... resnet152
  std::int64_t size = 64;         // image height and width
  std::int64_t batch = 64;
  std::int64_t classes = 1000;
  std::int64_t steps = 8;    // timed
  std::int64_t warm_up = 2;  // not timed
  Device device = Device::cpu;
};

struct BenchStepResult {
  double ms_step = 0, ms_min = 0, ms_max = 0;  // wall clock; ms_step is the median
  double img_s = 0;
  double first_loss = 0, loss = 0;        // cross-entropy of the first and the last step
  std::int64_t peak_bytes = 0;            // of tensors
  std::int64_t peak_rss_bytes = 0;        // of the whole process
  std::int64_t blocks_after_warm_up = 0;  // asked from the system while timing: 0
};

// Random images and labels; SGD with momentum 0.9 and weight decay 1e-4; everything from one seed.
BenchStepResult bench_step(const BenchStepOptions& options);

// One JSON object, one line.
std::string to_json(const BenchStepOptions& options, const BenchStepResult& result);
// For a person.
std::string to_text(const BenchStepOptions& options, const BenchStepResult& result);

}  // namespace proxent
