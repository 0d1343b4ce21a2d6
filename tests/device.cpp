// Which device a command takes, and that a run on the GPU does what one on the processor does.
#include "train/device.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "tensor/gpu.h"
#include "tests/devices.h"
#include "tests/small_run.h"
#include "tests/temp_folder.h"
#include "train/exit_code.h"
#include "train/run.h"
#include "train/safetensors.h"

namespace proxent {
namespace {

Config two_steps(const std::filesystem::path& pictures, const std::filesystem::path& out,
                 const char* device) {
  Config config = small_config(pictures, out);
  config.run.steps = 2;
  config.run.device = device;
  return config;
}

TensorMap weights(const std::filesystem::path& run) {
  return read_safetensors(run / "ckpt/last.safetensors").tensors;
}

// Largest |a - b| over all weights, as a share of the largest |b| of its tensor or 1.
double difference(const TensorMap& a, const TensorMap& b) {
  double largest = 0;
  REQUIRE(a.size() == b.size());
  for (const auto& [name, tensor] : b) {
    const auto x = a.at(name).to_vector<double>(), y = tensor.to_vector<double>();
    double scale = 1;
    for (double value : y) scale = std::max(scale, std::abs(value));
    for (std::size_t i = 0; i < y.size(); ++i)
      largest = std::max(largest, std::abs(x[i] - y[i]) / scale);
  }
  return largest;
}

}  // namespace
}  // namespace proxent

TEST_SUITE("device") {
  using namespace proxent;

  TEST_CASE("the name of a device is understood or refused") {
    CHECK(set_up_compute("cpu", {}) == Device::cpu);
    CHECK_THROWS_WITH_AS(set_up_compute("gpu", {}),
                         doctest::Contains("expected auto, cpu, cuda or cuda:N, got 'gpu'"),
                         UsageError);
    for (const char* name : {"cuda:", "cuda:x", "cuda:-1", "cuda0", "cuda:1x"})
      CHECK_THROWS_AS(set_up_compute(name, {}), UsageError);
    const GpuReport report = gpu_report();
    if (!report.problem.empty()) {
      CHECK(set_up_compute("auto", {}) == Device::cpu);
      CHECK_THROWS_WITH_AS(set_up_compute("cuda", {}),
                           doctest::Contains("--device cpu runs everything without a GPU"),
                           CudaError);
    } else {
      CHECK_THROWS_AS(set_up_compute("cuda:99", {}), CudaError);
    }
  }

  TEST_CASE("a run on the GPU ends where one on the processor does") {
    if (!has_gpu()) return;
    TempFolder temporary;
    const auto pictures = draw_pictures(temporary.path() / "pictures");
    for (const char* device : {"cpu", "cuda"}) {
      const Config config = two_steps(pictures, temporary.path() / device, device);
      CHECK(run_training(config, {"train"}) == kDone);
    }
    // AdamW's first steps divide a gradient by its own size: where that is rounding, two devices
    // may go opposite ways, two steps of 1e-3 (of 1e-2 for the proxies) each.
    CHECK(difference(weights(temporary.path() / "cuda"), weights(temporary.path() / "cpu")) < 0.04);
  }

  TEST_CASE("bf16 needs a GPU, and ends near float32 there") {
    TempFolder temporary;
    const auto pictures = draw_pictures(temporary.path() / "pictures");
    Config config = two_steps(pictures, temporary.path() / "bf16", "cpu");
    config.run.precision = "bf16";
    CHECK_THROWS_WITH_AS(run_training(config, {"train"}),
                         doctest::Contains("run.precision = \"bf16\" needs a GPU"), UsageError);
    if (!has_gpu()) return;
    std::filesystem::remove_all(config.run.out);
    config.run.device = "cuda";
    CHECK(run_training(config, {"train"}) == kDone);
    config.run.precision = "f32";
    config.run.out = (temporary.path() / "f32").string();
    CHECK(run_training(config, {"train"}) == kDone);
    // Weights are kept in float32, so they differ by what AdamW makes of other gradients: at most
    // two steps of the learning rate each way; running statistics by that of activations with 8
    // bits.
    const double apart =
        difference(weights(temporary.path() / "bf16"), weights(temporary.path() / "f32"));
    CHECK(apart > 0);
    CHECK(apart < 0.1);
  }

  TEST_CASE("a run whose steps are recorded leaves the bits of one whose steps are not") {
    if (!has_gpu()) return;
    TempFolder temporary;
    const auto pictures = draw_pictures(temporary.path() / "pictures");
    std::map<std::string, TensorMap> states;
    for (const char* graphs : {"on", "off"}) {
      Config config = small_config(pictures, temporary.path() / graphs);
      config.run.device = "cuda";
      config.run.precision = "fp16";
      config.run.cuda_graphs = graphs;
      config.run.steps = 5;
      config.model.warmup_head = {1, Duration::Unit::iterations};
      config.run.eval_every = {3, Duration::Unit::iterations};
      config.run.protocol = "paper";
      CHECK(run_training(config, {"train"}) == kDone);
      states[graphs] = read_safetensors(temporary.path() / graphs / "ckpt/last.state").tensors;
    }
    REQUIRE(states["on"].size() == states["off"].size());
    for (const auto& [name, tensor] : states["on"])
      CHECK_MESSAGE(tensor.to_vector<double>() == states["off"].at(name).to_vector<double>(), name);
  }

  TEST_CASE("a run may be continued on the other device") {
    if (!has_gpu()) return;
    TempFolder temporary;
    const auto pictures = draw_pictures(temporary.path() / "pictures");
    Config config = two_steps(pictures, temporary.path() / "run", "cpu");
    config.optim.sched = "const";
    config.run.steps = 1;
    CHECK(run_training(config, {"train"}) == kDone);
    const TensorMap before = weights(temporary.path() / "run");
    std::filesystem::copy(temporary.path() / "run", temporary.path() / "other",
                          std::filesystem::copy_options::recursive);
    config.run.steps = 2;
    for (const char* device : {"cuda", "cpu"}) {
      config.run.device = device;
      config.run.out =
          (temporary.path() / (device == std::string("cpu") ? "run" : "other")).string();
      config.run.resume = config.run.out;
      CHECK(run_training(config, {"train", "--resume"}) == kDone);
    }
    const TensorMap after = weights(temporary.path() / "other");
    CHECK(difference(after, before) > 0.05);  // what a step moves
    CHECK(difference(after, weights(temporary.path() / "run")) < 0.02);
  }
}
