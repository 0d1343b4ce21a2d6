#include "train/bench_step.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "layers/init.h"
#include "layers/linear.h"
#include "layers/resnet.h"
#include "losses/multi_proxy_entropy_loss.h"
#include "tensor/gpu.h"
#include "tensor/pointwise.h"
#include "tensor/timing.h"
#include "train/clock.h"
#include "train/device.h"
#include "train/json.h"
#include "train/model.h"
#include "train/process_memory.h"
#include "train/text.h"
#include "train/training_step.h"
#include "train/weights.h"

namespace proxent {
namespace {

// torchvision's ResNet: backbone, average pool, fc. The last two in f32 where images are of two
// bytes.
class Classifier : public Module {
 public:
  Classifier(int depth, std::int64_t classes)
      : Module(nullptr, "classifier"),
        backbone(this, "", {.depth = depth}),
        fc(this, "fc", backbone.features(), classes) {}

  ResNet backbone;
  Linear fc;

 protected:
  Variable forward(const Variable& x) override {
    return fc(cast(global_avg_pool(backbone(x)), sum_dtype(x.dtype())));
  }
};

// What a step trains.
struct Network {
  std::unique_ptr<Module> model;
  std::unique_ptr<MultiProxyEntropyLoss> proxies;  // null: the model is a classifier

  explicit Network(const BenchStepOptions& options) {
    if (options.loss == "mpl") {
      model = build_model({.arch = options.arch, .embed_dim = options.dim}, 0);
      proxies = std::make_unique<MultiProxyEntropyLoss>(
          nullptr, "loss",
          ProxyOptions{
              .classes = options.classes, .per_class = options.proxies, .dim = options.dim});
      proxies->move_to(options.device);
    } else {
      model = std::make_unique<Classifier>(*resnet_depth(options.arch), options.classes);
      initialize(*model, 0);
    }
    set_recomputation(*model, recomputation_of(options.recompute));
    model->move_to(options.device);
  }

  Modules modules() const {
    if (!proxies) return {model.get()};
    return {model.get(), proxies.get()};
  }
  Variable loss(const Variable& images, const Tensor& labels) const {
    const Variable result = (*model)(images);
    return proxies ? (*proxies)(result, labels) : cross_entropy(result, labels);
  }
};

Optimizer optimizer_of(const Network& network, const BenchStepOptions& options, DType dtype) {
  std::vector<Named<Parameter>> parameters;
  for (Module* module : network.modules())
    for (const auto& named : module->parameters()) parameters.push_back(named);
  using Kind = OptimizerOptions::Kind;
  return {group_parameters(parameters, {.weight_decay = 1e-4,
                                        .decays_norms = true,
                                        .decays_biases = true,
                                        .head_paths = {"fc", "embedding"},
                                        .proxy_weight_decay = 1e-4}),
          for_images_in(dtype, {.kind = options.optim == "adamw" ? Kind::adamw : Kind::sgd,
                                .momentum = 0.9})};
}

struct Batch {
  Tensor images, labels;  // (N, H, W, 3) u8, (N) i32
};

Batch random_batch(const BenchStepOptions& options) {
  Batch batch{Tensor({options.batch, options.size, options.size, 3}, DType::u8),
              Tensor({options.batch}, DType::i32)};
  Philox pixels(0, stream_of("bench images")), random(0, stream_of("bench labels"));
  for (std::int64_t i = 0; i < batch.images.numel(); ++i)
    batch.images.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(pixels() >> 24);
  for (std::int64_t i = 0; i < options.batch; ++i)
    batch.labels.data<std::int32_t>()[i] = static_cast<std::int32_t>(random.below(options.classes));
  return batch;
}

void write_start(const std::string& path, const Network& network, const Batch& batch) {
  TensorMap tensors = weights_of(network.modules());
  tensors["images"] = batch.images;
  tensors["labels"] = batch.labels;
  write_safetensors(path, tensors);
}

// About mean 0 and deviation 1, and exact in bf16.
Tensor normalised(const Tensor& images, DType dtype) {
  return shift(scale(images.to(dtype), 1.0 / 64), -2);
}

void check_options(const BenchStepOptions& options) {
  check<UsageError>(options.steps >= 1 && options.warm_up >= 0 && options.batch >= 1 &&
                        options.size >= 1 && options.classes >= 1,
                    "bench step: steps, batch, size and classes must be at least 1");
  check<UsageError>(resnet_depth(options.arch).has_value(), "bench step: --arch must be ",
                    one_of(resnet_names()), ", got ", options.arch);
  check<UsageError>(options.loss == "cross-entropy" || options.loss == "mpl",
                    "bench step: --loss must be cross-entropy or mpl, got ", options.loss);
  check<UsageError>(options.optim == "sgd" || options.optim == "adamw",
                    "bench step: --optim must be sgd or adamw, got ", options.optim);
}

}  // namespace

BenchStepResult bench_step(const BenchStepOptions& options) {
  check_options(options);
  const DType dtype = set_up_precision(options.precision, options.device, options.is_deterministic);
  const Network network(options);
  const Batch batch = random_batch(options);
  if (!options.start_file.empty()) write_start(options.start_file, network, batch);
  Optimizer optimizer = optimizer_of(network, options, dtype);
  const double learning_rate = options.optim == "adamw" ? 1e-4 : 0.01;
  const Tensor images = batch.images.to(options.device), labels = batch.labels.to(options.device);
  TrainingStep step(
      [&](const std::vector<Tensor>& parts) {
        return network.loss(normalised(parts[0], dtype), parts[1]);
      },
      optimizer, nullptr, {.uses_graph = options.uses_graph});

  BenchStepResult result;
  std::vector<double> times;
  std::int64_t blocks = 0;
  const std::int64_t all = options.warm_up + options.steps;
  ProfiledSteps profiled(options.profile_steps, options.device, all);
  // The next step is queued before this one's result is waited for: a GPU is never without work.
  const std::int64_t ahead = options.device == Device::cpu ? 0 : 1;
  for (std::int64_t i = 0; i < all + ahead; ++i) {
    if (i - ahead == options.warm_up) blocks = memory_report(options.device).system_requests;
    const Stopwatch watch;
    if (i < all) {
      profiled.before_step();
      step.run({images, labels}, learning_rate);
      profiled.after_step();
    }
    if (i < ahead) continue;
    const StepResult taken = step.take();
    const double ms = 1e3 * watch.seconds();
    result.losses.push_back(taken.loss);
    result.gradient_norm = taken.gradient_norm;
    if (i == ahead || !std::isfinite(result.first_gradient_norm))
      result.first_gradient_norm = taken.gradient_norm;
    if (i - ahead >= options.warm_up) times.push_back(ms);
  }
  const auto [least, most] = std::minmax_element(times.begin(), times.end());
  const MemoryReport memory = memory_report(options.device);
  result.ms_step = median(times);
  result.ms_min = *least;
  result.ms_max = *most;
  result.img_s = static_cast<double>(options.batch) / result.ms_step * 1e3;
  result.peak_bytes = memory.peak;
  result.peak_rss_bytes = peak_process_bytes();
  result.blocks_after_warm_up = memory.system_requests - blocks;
  if (options.device == Device::cuda) {
    const GpuMemory gpu = gpu_memory();
    result.gpu_used_bytes = gpu.total - gpu.free;
  }
  return result;
}

std::string to_json(const BenchStepOptions& options, const BenchStepResult& result) {
  Json losses = Json::array();
  for (const double loss : result.losses) losses.push_back(loss);
  return Json::object({{"arch", options.arch},
                       {"size", options.size},
                       {"batch", options.batch},
                       {"objective", options.loss},
                       {"optim", options.optim},
                       {"precision", options.precision},
                       {"recompute", options.recompute},
                       {"deterministic", options.is_deterministic},
                       {"cuda_graphs", options.uses_graph},
                       {"device", describe(options.device)},
                       {"steps", options.steps},
                       {"warm_up", options.warm_up},
                       {"ms_step", result.ms_step},
                       {"ms_min", result.ms_min},
                       {"ms_max", result.ms_max},
                       {"img_s", result.img_s},
                       {"losses", losses},
                       {"first_gradient_norm", result.first_gradient_norm},
                       {"gradient_norm", result.gradient_norm},
                       {"peak_bytes", result.peak_bytes},
                       {"peak_rss_bytes", result.peak_rss_bytes},
                       {"gpu_used_bytes", result.gpu_used_bytes},
                       {"blocks_after_warm_up", result.blocks_after_warm_up}})
      .text();
}

std::string to_text(const BenchStepOptions& options, const BenchStepResult& result) {
  return fmt::format(
      "{}, {} px, batch {}, {}, {}, {}, {}: {:.1f} ms per step (min {:.1f}, max {:.1f}, {} steps), "
      "{:.1f} img/s\n"
      "loss {:.4f} -> {:.4f}, gradient norm {:.4f} -> {:.4f}; peak memory {:.0f} MB in tensors, "
      "{:.0f} MB in the process; {} blocks asked from the system while timing",
      options.arch, options.size, options.batch, options.loss, options.optim, options.precision,
      describe(options.device), result.ms_step, result.ms_min, result.ms_max, options.steps,
      result.img_s, result.losses.front(), result.losses.back(), result.first_gradient_norm,
      result.gradient_norm, static_cast<double>(result.peak_bytes) / 1e6,
      static_cast<double>(result.peak_rss_bytes) / 1e6, result.blocks_after_warm_up);
}

}  // namespace proxent
