#include "train/bench_step.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "layers/init.h"
#include "layers/linear.h"
#include "layers/resnet.h"
#include "tensor/gpu.h"
#include "train/device.h"
#include "train/json.h"
#include "train/training_step.h"

namespace proxent {
namespace {

// torchvision's ResNet: backbone, average pool, fc.
class Classifier : public Module {
 public:
  Classifier(int depth, std::int64_t classes)
      : Module(nullptr, "classifier"),
        backbone(this, "", {.depth = depth}),
        fc(this, "fc", backbone.features(), classes) {}

  ResNet backbone;
  Linear fc;

 protected:
  Variable forward(const Variable& x) override { return fc(global_avg_pool(backbone(x))); }
};

int depth_of(const std::string& arch) {
  for (int depth : {18, 34, 50, 101, 152})
    if (arch == "resnet" + std::to_string(depth)) return depth;
  fail<UsageError>(
      "bench step: --arch must be resnet18, resnet34, resnet50, resnet101 or resnet152, got ",
      arch);
}

Tensor random_labels(std::int64_t count, std::int64_t classes) {
  Philox random(0, stream_of("bench labels"));
  Tensor labels({count}, DType::i32);
  for (std::int64_t i = 0; i < count; ++i)
    labels.data<std::int32_t>()[i] = static_cast<std::int32_t>(random.below(classes));
  return labels;
}

std::int64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

}  // namespace

BenchStepResult bench_step(const BenchStepOptions& options) {
  check<UsageError>(
      options.steps >= 1 && options.batch >= 1 && options.size >= 1 && options.classes >= 1,
      "bench step: steps, batch, size and classes must be at least 1");
  Classifier model(depth_of(options.arch), options.classes);
  initialize(model, 0);
  model.move_to(options.device);
  Optimizer optimizer(group_parameters(model.parameters(), {.weight_decay = 1e-4,
                                                            .decays_norms = true,
                                                            .decays_biases = true,
                                                            .head_paths = {"fc"}}),
                      {.kind = OptimizerOptions::Kind::sgd, .momentum = 0.9});
  Tensor images({options.batch, options.size, options.size, 3}, DType::f32);
  fill_normal(images, Philox(0, stream_of("bench images")), 0, 1);
  images = images.to(options.device);
  const Tensor labels = random_labels(options.batch, options.classes).to(options.device);
  TrainingStep step(
      [&](const std::vector<Tensor>& batch) { return cross_entropy(model(batch[0]), batch[1]); },
      optimizer);

  BenchStepResult result;
  std::vector<double> times;
  std::int64_t blocks = 0;
  // The next step is queued before this one's result is waited for: a GPU is never without work.
  const std::int64_t all = options.warm_up + options.steps;
  const std::int64_t ahead = options.device == Device::cpu ? 0 : 1;
  for (std::int64_t i = 0; i < all + ahead; ++i) {
    if (i - ahead == options.warm_up) blocks = memory_report(options.device).system_requests;
    const auto start = std::chrono::steady_clock::now();
    if (i < all) step.run({images, labels}, 0.01);
    if (i < ahead) continue;
    result.loss = step.take().loss;
    const std::chrono::duration<double, std::milli> elapsed =
        std::chrono::steady_clock::now() - start;
    if (i == ahead) result.first_loss = result.loss;
    if (i - ahead >= options.warm_up) times.push_back(elapsed.count());
  }
  std::sort(times.begin(), times.end());
  const MemoryReport memory = memory_report(options.device);
  result.ms_step = (times[(times.size() - 1) / 2] + times[times.size() / 2]) / 2;
  result.ms_min = times.front();
  result.ms_max = times.back();
  result.img_s = static_cast<double>(options.batch) / result.ms_step * 1e3;
  result.peak_bytes = memory.peak;
  result.peak_rss_bytes = peak_rss_bytes();
  result.blocks_after_warm_up = memory.system_requests - blocks;
  return result;
}

std::string to_json(const BenchStepOptions& options, const BenchStepResult& result) {
  return Json::object({{"arch", options.arch},
                       {"size", options.size},
                       {"batch", options.batch},
                       {"device", describe(options.device)},
                       {"steps", options.steps},
                       {"ms_step", result.ms_step},
                       {"ms_min", result.ms_min},
                       {"ms_max", result.ms_max},
                       {"img_s", result.img_s},
                       {"loss", result.loss},
                       {"first_loss", result.first_loss},
                       {"peak_bytes", result.peak_bytes},
                       {"peak_rss_bytes", result.peak_rss_bytes},
                       {"blocks_after_warm_up", result.blocks_after_warm_up}})
      .text();
}

std::string to_text(const BenchStepOptions& options, const BenchStepResult& result) {
  return fmt::format(
      "{}, {} px, batch {}, {}: {:.1f} ms per step (min {:.1f}, max {:.1f}, {} steps), {:.1f} "
      "img/s\n"
      "loss {:.4f} -> {:.4f}; peak memory {:.0f} MB in tensors, {:.0f} MB in the process; "
      "{} blocks asked from the system while timing",
      options.arch, options.size, options.batch, describe(options.device), result.ms_step,
      result.ms_min, result.ms_max, options.steps, result.img_s, result.first_loss, result.loss,
      static_cast<double>(result.peak_bytes) / 1e6,
      static_cast<double>(result.peak_rss_bytes) / 1e6, result.blocks_after_warm_up);
}

}  // namespace proxent
