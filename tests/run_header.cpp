// What a run says before its first step: settings as they are, and advice where it helps alone.
#include "train/run_header.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <functional>

namespace proxent {
namespace {

// `pictures` of each of four classes to train on, and a validation part of two.
Task task_of(std::int64_t pictures) {
  Task task;
  for (Dataset* part : {&task.train, &task.validation}) {
    const int classes = part == &task.train ? 4 : 2;
    for (int c = 0; c < classes; ++c) part->class_names.push_back(std::to_string(c));
    for (std::int64_t i = 0; i < classes * pictures; ++i)
      part->samples.push_back({.label = static_cast<std::int32_t>(i % classes)});
  }
  return task;
}

}  // namespace
}  // namespace proxent

TEST_SUITE("run header") {
  using namespace proxent;

  // The defaults, from weights.
  Config usual_config() {
    Config config;
    config.model.weights = "imagenet.safetensors";
    return config;
  }

  TEST_CASE("the usual needs no advice") {
    Config config = usual_config();
    CHECK(advice(config, task_of(100), 1000).empty());
    config.run.threads = omp_get_num_procs();
    CHECK(advice(config, task_of(100), 1000).empty());
  }

  TEST_CASE("each piece of advice has its occasion") {
    struct Occasion {
      std::function<void(Config&)> change;
      std::string advice;
    };
    const std::vector<Occasion> occasions = {
        {[](Config& c) { c.data.image_size = 64; }, "pictures of 64 px end in a map of 2x2"},
        {[](Config& c) { c.model.stem = "small"; }, "--stem small at 224 px is about 16 times"},
        {[](Config& c) { c.model.weights = ""; },
         "the backbone starts from random numbers; at 224"},
        {[](Config& c) { c.run.threads = 4096; }, "--threads 4096 on "},
        {[](Config& c) { c.batch.size = 8; }, "batches of 8 make noisy steps"},
        {[](Config& c) { c.loss.weight_inter = 0.5; }, "weight_inter 0.5 outweighs"},
        {[](Config& c) { c.loss = {.name = "arcface", .proxies = 3}; },
         "--loss arcface does not look at proxies"},
        {[](Config& c) { c.loss.proxies = 1; }, "with one proxy per class weight_intra and"},
        {[](Config& c) { c.loss = {.name = "triplet"}; }, "triplet learns from pairs of a class"},
        {[](Config& c) { c.loss.proxies = 60; }, "60 proxies for about 100 pictures per class"},
        {[](Config& c) { c.optim.ema = 0.999; }, "--ema 0.999 averages over 1000 of the 1000"},
        {[](Config& c) { c.run.protocol = "paper"; }, "protocol paper: the test split chooses"},
    };
    for (const Occasion& occasion : occasions) {
      Config config = usual_config();
      occasion.change(config);
      const auto said = advice(config, task_of(100), 1000);
      CAPTURE(occasion.advice);
      REQUIRE(said.size() == 1);
      CHECK(said[0].starts_with(occasion.advice));
    }
    Task task = task_of(100);
    task.validation = task.validation.of_classes({0}, "one class");
    CHECK(advice(usual_config(), task, 1000).at(0).starts_with("validation has one class"));
  }

  TEST_CASE("a backbone with a stem of its own is not told of others") {
    Config config;
    config.model.arch = "resnet12";
    config.data.image_size = 84;
    CHECK(advice(config, task_of(100), 1000).empty());
    const auto header = [&] { return run_header(config, task_of(100), {}, 100); };
    CHECK(header().find("resnet12*, pool") != std::string::npos);
    CHECK(header().find("stem") == std::string::npos);
    config.model.arch = "resnet50";
    CHECK(header().find("resnet50*, stem imagenet, pool") != std::string::npos);
  }
}
