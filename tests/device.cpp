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
#include "train/learner.h"
#include "train/run.h"
#include "train/safetensors.h"

namespace proxent {
namespace {

// Of plain SGD, whose weights move as far as their gradients say: AdamW's first steps would divide
// a gradient that is all rounding by its own size.
Config two_steps(const std::filesystem::path& pictures, const std::filesystem::path& out,
                 const char* device) {
  Config config = small_config(pictures, out);
  config.optim.name = "sgd";
  config.optim.lr = 1e-2;
  config.optim.ema = 0;
  config.optim.sched = "const";
  config.run.steps = 2;
  config.run.device = device;
  return config;
}

TensorMap weights(const std::filesystem::path& run) {
  return read_safetensors(run / "ckpt/last.safetensors").tensors;
}

// Those that a run begins with.
TensorMap first_weights(const Config& config) {
  Learner learner(config, 4, Device::cpu, DType::f32);
  return weights_of(learner.modules());
}

double distance(const Tensor& a, const Tensor& b) {
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double squares = 0;
  for (std::size_t i = 0; i < y.size(); ++i) squares += (x[i] - y[i]) * (x[i] - y[i]);
  return std::sqrt(squares);
}

// How far a is from b, as a share of b's way from the start: the largest of all tensors. Running
// statistics may have stayed, weights have moved.
double apart(const TensorMap& a, const TensorMap& b, const TensorMap& start) {
  double largest = 0;
  REQUIRE(a.size() == b.size());
  for (const auto& [name, tensor] : b) {
    if (name.ends_with("num_batches_tracked")) continue;
    CAPTURE(name);
    const double way = distance(tensor, start.at(name)), between = distance(a.at(name), tensor);
    if (name.find("running_") == std::string::npos) CHECK(way > 0);
    CHECK((way > 0 || between == 0));
    if (way > 0) largest = std::max(largest, between / way);
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
    // 2e-4 on the emulated GPU; libraries sum in other orders, which may cost a ReLU its sign.
    const TensorMap start = first_weights(two_steps(pictures, {}, "cpu"));
    CHECK(apart(weights(temporary.path() / "cuda"), weights(temporary.path() / "cpu"), start) <
          0.01);
  }

  TEST_CASE("bf16 needs a GPU, and ends near float32 there") {
    TempFolder temporary;
    const auto pictures = draw_pictures(temporary.path() / "pictures");
    Config config = two_steps(pictures, temporary.path() / "bf16", "cpu");
    config.run.precision = "bf16";
    config.model.bn_mode = "eval-stats";
    CHECK_THROWS_WITH_AS(run_training(config, {"train"}),
                         doctest::Contains("run.precision = \"bf16\" needs a GPU"), UsageError);
    if (!has_gpu()) return;
    std::filesystem::remove_all(config.run.out);
    config.run.device = "cuda";
    CHECK(run_training(config, {"train"}) == kDone);
    config.run.precision = "f32";
    config.run.out = (temporary.path() / "f32").string();
    CHECK(run_training(config, {"train"}) == kDone);
    const double by = apart(weights(temporary.path() / "bf16"), weights(temporary.path() / "f32"),
                            first_weights(config));
    // 0.24 on the emulated GPU. By the batch's statistics, of eight 1x1 maps in the last layers,
    // rounding would grow beyond the movement itself.
    CHECK(by > 0.01);
    CHECK(by < 0.5);
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
    CHECK(apart(weights(temporary.path() / "other"), weights(temporary.path() / "run"), before) <
          0.01);
  }
}
