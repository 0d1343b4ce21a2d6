// `proxent bench step`: the time and memory of one training step of a ResNet, with a classifier or
// with the multi-proxy entropy loss: the work that bench/torch_step.py does in PyTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/device.h"
#include "train/profiled_steps.h"

namespace proxent {

struct BenchStepOptions {
  std::string arch = "resnet18";  // resnet18 ... resnet152
  std::int64_t size = 64;         // image height and width
  std::int64_t batch = 64;
  std::string loss = "cross-entropy";  // of a linear classifier; mpl: multi_proxy_entropy
  std::int64_t classes = 1000;
  std::int64_t proxies = 2, dim = 512;  // of mpl: per class, and size of the embedding
  std::string optim = "sgd";            // sgd (0.01, momentum 0.9), adamw (1e-4)
  std::string precision = "f32";        // f32, tf32, bf16, fp16
  std::string recompute = "none";       // none, relu, block
  bool is_deterministic = true;         // of the GPU's libraries
  bool uses_graph = true;               // on a GPU: a step is one CUDA graph
  std::int64_t steps = 8;               // timed
  std::int64_t warm_up = 2;             // not timed
  StepRange profile_steps;              // counted from 1, those of the warm-up too
  // Where not empty, the state before the first step is written there: weights and proxies under
  // torchvision's names, and the batch as "images" (N, H, W, 3) u8 and "labels" i32.
  std::string start_file;
  Device device = Device::cpu;
};

struct BenchStepResult {
  double ms_step = 0, ms_min = 0, ms_max = 0;  // wall clock; ms_step is the median
  double img_s = 0;
  std::vector<double> losses;  // of every step, the warm-up's too
  // Of the first step and the last; with fp16 the first that the loss's scale lets pass.
  double first_gradient_norm = 0, gradient_norm = 0;
  std::int64_t peak_bytes = 0;            // of tensors
  std::int64_t peak_rss_bytes = 0;        // of the whole process
  std::int64_t gpu_used_bytes = 0;        // of all the GPU's memory, at the end; 0 on the CPU
  std::int64_t blocks_after_warm_up = 0;  // asked from the system while timing: 0
};

// The same batch in every step, random pixels x taken as x / 64 - 2 and random labels; weight decay
// 1e-4 for all parameters; everything from one seed. Throws UsageError for options out of range.
BenchStepResult bench_step(const BenchStepOptions& options);

// One JSON object, one line.
std::string to_json(const BenchStepOptions& options, const BenchStepResult& result);
// For a person.
std::string to_text(const BenchStepOptions& options, const BenchStepResult& result);

}  // namespace proxent
