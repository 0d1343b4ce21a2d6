// A step of training, plain and recorded: the same bits, one result behind where it may be, and no
// weight moved by a number that is not finite.
#include "train/training_step.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "autograd/ops.h"
#include "layers/init.h"
#include "layers/linear.h"
#include "layers/resnet.h"
#include "tensor/gpu.h"
#include "tensor/random.h"
#include "tests/devices.h"
#include "train/learner.h"

namespace proxent {
namespace {

Tensor images_of(std::int64_t count, std::uint64_t number) {
  Tensor images({count, 16, 16, 3}, DType::f32);
  fill_normal(images, Philox(1, number), 0, 1);
  return images;
}

Tensor labels_of(std::int64_t count) {
  Tensor labels({count}, DType::i32);
  for (std::int64_t i = 0; i < count; ++i)
    labels.data<std::int32_t>()[i] = static_cast<std::int32_t>(i % 4);
  return labels;
}

// A residual network of a few thousand weights.
struct SmallNetwork : Module {
  SmallNetwork()
      : Module(nullptr, "small"),
        conv1(this, "conv1", 3, 8, 3, {.padding = 1}),
        bn1(this, "bn1", 8),
        first(this, "first", 8, 8, 1),
        second(this, "second", 8, 16, 2),
        fc(this, "fc", 16, 4) {
    proxent::initialize(*this, 1);
  }
  Conv2d conv1;
  BatchNorm2d bn1;
  BasicBlock first, second;
  Linear fc;

 protected:
  Variable forward(const Variable& x) override {
    const Variable y = global_avg_pool(second(first(bn1.with_relu(conv1(x)))));
    return fc(cast(y, DType::f32));
  }
};

// It under cross-entropy, with everything that a step can have.
struct Run {
  Run(Device device, DType image_dtype, bool uses_graph, bool keeps_rounded = true)
      : model(std::make_unique<SmallNetwork>()) {
    model->move_to(device);
    OptimizerOptions options{.clip_norm = 1};
    if (image_dtype == DType::f16) options.loss_scaling = LossScaling{.interval = 3};
    if (is_half(image_dtype) && keeps_rounded) options.rounded = image_dtype;
    optimizer = std::make_unique<Optimizer>(
        group_parameters(model->parameters(), {.head_paths = {"fc"}}), options);
    start = optimizer->parameters().values().clone();
    average = std::make_unique<WeightAverage>(optimizer->parameters(), model->buffers(),
                                              WeightAverageOptions{.decay = 0.9});
    step = std::make_unique<TrainingStep>(
        [this, image_dtype](const std::vector<Tensor>& batch) {
          const Variable y = (*model)(batch[0].to(image_dtype));
          embeddings = y.value();
          return cross_entropy(4 * y, batch[1]);
        },
        *optimizer, average.get(),
        TrainingStepOptions{.uses_graph = uses_graph, .terms = [this] {
                              return std::vector<Tensor>{embeddings.view(0, {})};
                            }});
  }
  // Every number that a step may change, in one row.
  std::vector<double> weights() const {
    std::vector<double> all = optimizer->parameters().values().to_vector<double>();
    TensorMap others = optimizer->state();
    others.merge(average->state());
    for (const auto& [name, tensor] : others)
      for (const double x : tensor.to_vector<double>()) all.push_back(x);
    return all;
  }
  std::unique_ptr<SmallNetwork> model;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<WeightAverage> average;
  Tensor embeddings, start;
  std::unique_ptr<TrainingStep> step;
};

bool has_same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

}  // namespace
}  // namespace proxent

TEST_SUITE("training step") {
  using namespace proxent;

  TEST_CASE("a recorded step gives the bits of a plain one, also around a smaller batch") {
    if (!has_gpu()) return;
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      CAPTURE(dtype);
      Run plain(Device::cuda, dtype, false), recorded(Device::cuda, dtype, true);
      for (std::uint64_t i = 0; i < 6; ++i) {
        const std::int64_t count = i == 4 ? 3 : 6;
        StepResult results[2];
        for (Run* run : {&plain, &recorded}) {
          run->step->run({images_of(count, i), labels_of(count)}, 1e-3 / (1 + double(i)));
          results[run == &recorded] = run->step->take();
        }
        CHECK(results[0].loss == results[1].loss);
        CHECK(results[0].is_skipped == results[1].is_skipped);  // fp16's first scales are too large
        if (!results[0].is_skipped) CHECK(results[0].gradient_norm == results[1].gradient_norm);
        CHECK(results[0].terms == results[1].terms);
        CHECK(recorded.step->is_recorded() == (i >= 2));
        CHECK_FALSE(plain.step->is_recorded());
        REQUIRE(has_same_bits(plain.weights(), recorded.weights()));
      }
      // A part that is held still is other work, of which something may have to be prepared too.
      for (Run* run : {&plain, &recorded})
        if (run->optimizer->hold("backbone", true)) run->step->forget_recording();
      for (std::uint64_t i = 0; i < 4; ++i) {
        for (Run* run : {&plain, &recorded}) {
          run->step->run({images_of(6, 9 + i), labels_of(6)}, 1e-3);
          run->step->take();
        }
        CHECK(recorded.step->is_recorded() == (i >= 2));
        CHECK(has_same_bits(plain.weights(), recorded.weights()));
      }
    }
  }

  TEST_CASE("a recording gives its memory to who finds no other, and is made again") {
    if (!has_gpu()) return;
    Run plain(Device::cuda, DType::f32, false), recorded(Device::cuda, DType::f32, true);
    release_cached_memory(Device::cuda);
    for (std::uint64_t i = 0; i < 8; ++i) {
      for (Run* run : {&plain, &recorded}) {
        run->step->run({images_of(6, i), labels_of(6)}, 1e-3);
        run->step->take();
      }
      CHECK(has_same_bits(plain.weights(), recorded.weights()));
      CHECK(recorded.step->is_recorded() == ((i >= 2 && i < 4) || i >= 6));
      if (i != 3) continue;
      const std::int64_t reserved = memory_report(Device::cuda).reserved;
      REQUIRE(reserved > 0);
      const MemoryLimit limit(Device::cuda, reserved);
      Tensor({reserved / 2}, DType::u8, Device::cuda);
      CHECK_FALSE(recorded.step->is_recorded());
    }
  }

  TEST_CASE("the batch that is recorded is the usual one") {
    if (!has_gpu()) return;
    Run run(Device::cuda, DType::f32, true);
    const std::vector<std::int64_t> counts = {6, 6, 3, 6, 6, 6, 3, 6};
    for (std::size_t i = 0; i < counts.size(); ++i) {
      run.step->run({images_of(counts[i], i), labels_of(counts[i])}, 1e-3);
      run.step->take();
      CHECK(run.step->is_recorded() == (i >= 5));
    }
  }

  TEST_CASE("nothing is recorded where every op waits for its kernels") {
    if (!has_gpu()) return;
    set_gpu_synchronous(true);
    Run run(Device::cuda, DType::f32, true);
    for (std::uint64_t i = 0; i < 4; ++i) {
      run.step->run({images_of(4, i), labels_of(4)}, 1e-3);
      run.step->take();
    }
    CHECK_FALSE(run.step->is_recorded());
    set_gpu_synchronous(false);
  }

  TEST_CASE("a step of ResNet-50 is few launches") {
    if (!has_gpu()) return;
    Config config;
    config.model.arch = "resnet50";
    config.data.image_size = 32;
    config.run.cuda_graphs = "off";
    Learner learner(config, 20, Device::cuda, DType::bf16);
    const Tensor pictures = Tensor::zeros({2, 32, 32, 3}, DType::u8, Device::cuda);
    const Tensor places = Tensor::zeros({2, 3}, DType::i32, Device::cuda);
    const Tensor labels = labels_of(2).to(Device::cuda);
    // The plans of cuDNN must not be made while recording; the emulator has none, and takes long.
    if (!gpu_report().is_emulated) learner.step->run({pictures, places, labels}, 1e-4);
    const std::int64_t before = gpu_launches();
    RecordedWork counted([&] { learner.step->run({pictures, places, labels}, 1e-4); });  // not run
    const std::int64_t launches = gpu_launches() - before;
    // Three for each of 53 convolutions, less the gradient of the pictures; four for each batch
    // norm; a conversion of each weight's gradient. The sums of both branches' gradients are the
    // convolutions' own. Two more for the running average of each proxy's use.
    CHECK(launches == 477);
  }

  TEST_CASE("weights that the optimizer rounds are those that cast rounds") {
    if (!has_gpu()) return;
    for (const DType dtype : {DType::bf16, DType::f16}) {
      Run kept(Device::cuda, dtype, true, true), cast(Device::cuda, dtype, true, false);
      for (std::uint64_t i = 0; i < 6; ++i) {
        for (Run* run : {&kept, &cast}) {
          if (i == 1 || i == 4)  // somebody else changes the weights
            run->optimizer->parameters().values().copy_from(run->start);
          run->step->run({images_of(4, i), labels_of(4)}, 1e-3);
          run->step->take();
        }
        REQUIRE(has_same_bits(kept.weights(), cast.weights()));
      }
    }
  }

  TEST_CASE("what is computed again in backward changes no bit") {
    on_every_device([](Device device) {
      std::vector<double> expected;
      for (const auto what : {Recomputation::none, Recomputation::relu, Recomputation::block}) {
        Run run(device, DType::f32, true);
        set_recomputation(*run.model, what);
        for (std::uint64_t i = 0; i < 3; ++i) {
          run.step->run({images_of(4, i), labels_of(4)}, 1e-3);
          run.step->take();
        }
        if (what == Recomputation::none) expected = run.weights();
        CHECK(has_same_bits(run.weights(), expected));  // running statistics among them
      }
    });
  }

  TEST_CASE("results wait their turn while steps are queued") {
    on_every_device([](Device device) {
      Run run(device, DType::f32, true), one_by_one(device, DType::f32, true);
      std::vector<double> losses, expected;
      for (std::uint64_t i = 0; i < 5; ++i) {
        run.step->run({images_of(4, i), labels_of(4)}, 1e-3);
        CHECK(run.step->waiting() == (i == 0 ? 1 : 2));
        if (i > 0) losses.push_back(run.step->take().loss);
        one_by_one.step->run({images_of(4, i), labels_of(4)}, 1e-3);
        expected.push_back(one_by_one.step->take().loss);
      }
      losses.push_back(run.step->take().loss);
      CHECK(losses == expected);
      CHECK(has_same_bits(run.weights(), one_by_one.weights()));
    });
  }

  TEST_CASE("a number that is not finite moves no weight, nor do the steps queued behind it") {
    on_every_device([](Device device) {
      Run run(device, DType::f32, true);
      for (std::uint64_t i = 0; i < 3; ++i) {
        run.step->run({images_of(4, i), labels_of(4)}, 1e-3);
        run.step->take();
      }
      const std::vector<double> before = run.optimizer->parameters().values().to_vector<double>();
      Tensor bad = images_of(4, 3);
      bad.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
      run.step->run({bad, labels_of(4)}, 1e-3);
      run.step->run({images_of(4, 4), labels_of(4)}, 1e-3);
      std::string message;
      try {
        run.step->take();
      } catch (const NonFiniteError& error) {
        message = error.what();
      }
      CHECK(message.find("conv2d: the result is not finite") != std::string::npos);
      CHECK(message.find("small > ") != std::string::npos);
      CHECK(run.step->waiting() == 0);
      CHECK(has_same_bits(before, run.optimizer->parameters().values().to_vector<double>()));
      run.step->run({images_of(4, 5), labels_of(4)}, 1e-3);  // who catches it can go on
      CHECK(std::isfinite(run.step->take().loss));
      CHECK_FALSE(has_same_bits(before, run.optimizer->parameters().values().to_vector<double>()));
    });
  }

  TEST_CASE("an overflow of f16 lowers the loss scale, and the step is skipped") {
    if (!has_gpu()) return;
    Run run(Device::cuda, DType::f16, true);
    const Tensor images = images_of(4, 0), labels = labels_of(4);
    std::vector<double> scales;
    int skipped = 0;
    double last = 65536;
    for (int i = 0; i < 12; ++i) {
      const std::vector<double> before = run.optimizer->parameters().values().to_vector<double>();
      // A scale that no gradient can bear.
      if (i == 4) run.optimizer->loss_scale().fill(last = 0x1p100);
      run.step->run({images, labels}, 1e-4);
      const StepResult result = run.step->take();
      CHECK(std::isfinite(result.loss));
      if (result.is_skipped) CHECK(result.loss_scale == last / 2);
      CHECK(has_same_bits(before, run.optimizer->parameters().values().to_vector<double>()) ==
            result.is_skipped);
      skipped += result.is_skipped;
      last = result.loss_scale;
    }
    CHECK(skipped >= 8);
  }
}
