// The memory of a training step, planned without computing one, beside what one really holds.
#include "train/memory_plan.h"

#include <doctest/doctest.h>

#include "tensor/gpu.h"
#include "tensor/pointwise.h"
#include "tests/temp_folder.h"
#include "train/loss.h"
#include "train/presets.h"
#include "train/process_memory.h"
#include "train/selection.h"
#include "train/task.h"
#include "train/text.h"

namespace proxent {
namespace {

Config config_of(const char* arch, std::int64_t size) {
  Config config;
  config.model.arch = arch;
  config.data.image_size = size;
  config.loss.proxies = 2;
  return config;
}

// What a real step holds at most beside the weights, on a device.
MemoryPlan measured(const Config& config, std::int64_t classes, Device device, DType dtype,
                    std::int64_t batch) {
  release_cached_memory(device);  // which block serves what depends on those that lie ready
  const std::int64_t before = memory_report(device).in_use;
  Learner learner(config, classes, device, dtype);
  const std::int64_t side = config.data.image_size;
  Tensor pictures({batch, side, side, 3}, DType::u8);
  for (std::int64_t i = 0; i < pictures.numel(); ++i)
    pictures.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * i % 251);
  pictures = pictures.to(device);
  const Tensor places = Tensor::zeros({batch, 3}, DType::i32, device);
  const Tensor labels = Tensor::zeros({batch}, DType::i32, device);
  MemoryPlan plan{.batch = batch};
  for (int i = 0; i < 2; ++i) {
    learner.optimizer->zero_gradients();
    const std::int64_t in_use = memory_report(device).in_use;
    plan.fixed = in_use - before - pictures.bytes();
    reset_memory_peak(device);
    learner.step->run({pictures, places, labels}, 1e-3);
    learner.step->take();
    plan.step = memory_report(device).peak - in_use;
  }
  return plan;
}

}  // namespace
}  // namespace proxent

TEST_SUITE("memory plan") {
  using namespace proxent;

  TEST_CASE("no more memory is planned with than this process may take") {
    CHECK(usable_memory(Device::cpu) > 0);
    CHECK(usable_memory(Device::cpu) < machine_bytes());
  }

  TEST_CASE("the tightest of nested control groups counts, in either version") {
    constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();
    const auto memory = [](const TempFolder& root) {
      const GroupMemory found = group_memory(root.path());
      return std::pair(found.limit, found.left);
    };
    const TempFolder second;
    CHECK(memory(second) == std::pair(kNoLimit, kNoLimit));
    second.write("proc/self/cgroup", "0::/user/job\n");
    second.write("sys/fs/cgroup/user/job/memory.max", "max\n");
    CHECK(memory(second) == std::pair(kNoLimit, kNoLimit));
    second.write("sys/fs/cgroup/user/job/memory.max", "5000\n");
    second.write("sys/fs/cgroup/user/job/memory.current", "1000\n");
    second.write("sys/fs/cgroup/user/job/memory.stat", "anon 600\ninactive_file 400\n");
    CHECK(memory(second) == std::pair<std::int64_t, std::int64_t>(5000, 4400));
    second.write("sys/fs/cgroup/user/memory.max", "4000\n");  // of all jobs together
    second.write("sys/fs/cgroup/user/memory.current", "7000\n");
    CHECK(memory(second) == std::pair<std::int64_t, std::int64_t>(4000, 0));

    const TempFolder first;
    first.write("proc/self/cgroup", "3:cpu,cpuacct:/x\n7:hugetlb,memory:/docker/a\n0::/\n");
    // As a container sees it: its own group as the topmost.
    first.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000\n");
    first.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "2000\n");
    first.write("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 500\n");
    CHECK(memory(first) == std::pair<std::int64_t, std::int64_t>(3000, 1500));
  }

  TEST_CASE("every preset builds, and its step runs on meta") {
    for (const Preset& preset : presets()) {
      CAPTURE(preset.name);
      const Config config = config_of(preset);
      CHECK(join(keys_without_effect(config.loss), " ") == "");
      const std::int64_t batch = config.batch.pictures();
      const MemoryPlan plan = MemoryPlanner(config, 100, DType::f32).plan(batch);
      CHECK(plan.step > 0);
      CHECK(plan.batch == batch);
    }
  }

  TEST_CASE("the papers' presets say what the papers do") {
    const auto config_of = [](std::string_view name) {
      return proxent::config_of(preset_named(name));
    };
    const Config anchor = config_of("proxy-anchor-paper");
    CHECK(anchor.optim.lr * anchor.loss.proxy_lr_mult == doctest::Approx(1e-2));
    CHECK(selection_of(anchor.run.protocol) == Selection::test_selected);
    const Config nca = config_of("proxynca++-paper");
    CHECK(nca.optim.lr * nca.loss.proxy_lr_mult == doctest::Approx(400));
    CHECK(config_of("mpl-sop-r50").optim.lr * config_of("mpl-sop-r50").loss.proxy_lr_mult ==
          doctest::Approx(240));
    CHECK(config_of("mpl-inshop-r50").optim.lr * config_of("mpl-inshop-r50").loss.proxy_lr_mult ==
          doctest::Approx(2400));
    // Pixels of 0 to 255 minus 104, 117, 128, blue first.
    for (const char* name : {"proxy-anchor-paper", "soft-triple-paper", "mlrc"}) {
      const AugmentOptions input = train_transform_of(config_of(name).data).normalisation();
      for (const auto& [channel, mean] : {std::pair(0, 104), {1, 117}, {2, 128}}) {
        CHECK(input.mean[channel] * 255 == doctest::Approx(mean));
        CHECK(input.std[channel] * 255 == doctest::Approx(1));
      }
    }
    const Config few = config_of("few-shot-r12");
    CHECK(lr_milestones_of(few.optim) ==
          std::vector<Duration>{{40, Duration::Unit::epochs}, {45, Duration::Unit::epochs}});
  }

  TEST_CASE("tensors on meta have shapes and nothing else") {
    const std::int64_t before = memory_report(Device::meta).in_use;
    const Tensor huge({1 << 20, 1 << 20}, DType::f32, Device::meta);
    CHECK(memory_report(Device::meta).in_use - before == std::int64_t{1} << 42);
    const Tensor sum = add(huge.slice(0, 3), huge.slice(5, 3));
    CHECK(sum.shape() == Shape{3, 1 << 20});
    CHECK_THROWS_WITH_AS(sum.to(Device::cpu), doctest::Contains("has no elements"), Error);
  }

  TEST_CASE("a step holds what was planned") {
    struct Case {
      Device device;
      DType dtype;
    };
    std::vector<Case> cases = {{Device::cpu, DType::f32}};
    if (gpu_report().problem.empty()) cases.push_back({Device::cuda, DType::bf16});
    for (const auto& [device, dtype] : cases) {
      CAPTURE(device);
      CAPTURE(dtype);
      Config config = config_of("resnet18", 32);
      config.run.cuda_graphs = "off";
      const std::int64_t batch = 32;
      MemoryPlanner planner(config, 100, dtype);
      const MemoryPlan planned = planner.plan(batch);
      const MemoryPlan real = measured(config, 100, device, dtype, batch);
      CHECK(static_cast<double>(real.fixed) ==
            doctest::Approx(static_cast<double>(planned.fixed)).epsilon(0.01));
      // On the CPU oneDNN's scratch memory comes on top.
      const double scratch = device == Device::cpu ? 12e6 : 0;
      CHECK(static_cast<double>(real.step) >= 0.95 * static_cast<double>(planned.step));
      CHECK(static_cast<double>(real.step) <= 1.05 * static_cast<double>(planned.step) + scratch);
    }
  }

  TEST_CASE("the largest batch fits, and the next one does not") {
    MemoryPlanner planner(config_of("resnet18", 64), 100, DType::f32);
    const std::int64_t bytes = std::int64_t{2} << 30;
    const std::int64_t fits = planner.largest_batch(bytes);
    CHECK(planner.plan(fits).peak() <= bytes);
    CHECK(planner.plan(fits + 1).peak() > bytes);
    CHECK(planner.largest_batch(bytes, 8) == fits / 8 * 8);
    CHECK(planner.largest_batch(bytes, 8, 24) == 24);
    CHECK(planner.largest_batch(1 << 20) == 0);
    CHECK(planner.plan(128).step > 1.8 * static_cast<double>(planner.plan(64).step));
  }

  TEST_CASE("a batch that the loss refuses does not fit") {
    Config config = config_of("resnet18", 32);
    config.loss.name = "triplet";
    config.loss.mining = "semi-hard";
    MemoryPlanner planner(config, 100, DType::f32);
    const std::int64_t fits = planner.largest_batch(std::int64_t{1} << 40);
    CHECK(fits >= 256);
    CHECK(fits < 4096);
  }

  TEST_CASE("ResNet-50 in bf16 at batch 128, beside the 5.56 GB that eager autograd keeps") {
    Config config = config_of("resnet50", 224);
    const auto step = [&] { return MemoryPlanner(config, 11318, DType::bf16).plan(128).step; };
    CHECK(step() == 5'488'296'960);
    config.model.recompute = "relu";
    CHECK(step() == 3'674'426'368);  // 0.66 of it
    config.model.recompute = "block";
    CHECK(step() == 1'876'993'536);  // 0.34
  }
}
