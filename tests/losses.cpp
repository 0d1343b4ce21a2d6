// The losses of the literature as --loss names them: their papers' defaults, what they do at the
// edges, and the memory of earlier batches. Their values and gradients are in the table of ops.
#include "train/loss.h"

#include <doctest/doctest.h>

#include <cmath>

#include "layers/linear.h"
#include "losses/arcface.h"
#include "losses/embedding_memory.h"
#include "losses/proxy_anchor.h"
#include "losses/proxy_gml.h"
#include "losses/soft_triple.h"
#include "tensor/concat.h"
#include "tests/devices.h"
#include "tests/tensors.h"
#include "train/training_step.h"

namespace proxent {
namespace {

const std::vector<std::int32_t> kLabels = {0, 4, 2, 0, 4, 1, 0};

Tensor random(const Shape& shape, std::string_view name) {
  Tensor x(shape, DType::f32);
  fill_normal(x, Philox(1, stream_of(name)), 0, 1);
  return x;
}

Config config_of(const std::string& loss) {
  Config config;
  config.loss.name = loss;
  config.model.embed_dim = 6;
  return config;
}

double value_of(const std::string& name, const Tensor& z, const Tensor& labels) {
  return (*build_loss(config_of(name), 5))(Variable(z), labels).value().item();
}

// The proxies that a loss of this name starts with.
Variable proxies_of(const std::string& name) {
  return Variable(build_loss(config_of(name), 5)->proxy_parameter()->value());
}

// Every number that four steps of a linear layer under the loss leave behind.
std::vector<double> after_four_steps(const Config& config, bool uses_graph) {
  const auto loss = build_loss(config, 5);
  Linear layer(nullptr, "layer", 6, 6);
  layer.initialize(Philox(1, 0));
  std::vector<Named<Parameter>> parameters = layer.parameters();
  for (Module* module : {static_cast<Module*>(loss.get()), static_cast<Module*>(&layer)})
    module->move_to(Device::cuda);
  for (const auto& named : loss->parameters()) parameters.push_back(named);
  Optimizer optimizer(group_parameters(parameters, {}), {});
  TrainingStep step(
      [&](const std::vector<Tensor>& batch) { return (*loss)(layer(batch[0]), batch[1]); },
      optimizer, nullptr, {.uses_graph = uses_graph});
  for (int i = 0; i < 4; ++i) {
    step.run({random({7, 6}, "batch " + std::to_string(i)).to(Device::cuda),
              labels_of(kLabels).to(Device::cuda)},
             1e-2);
    CHECK_FALSE(step.take().is_skipped);
  }
  CHECK(step.is_recorded() == uses_graph);
  std::vector<double> all = optimizer.parameters().values().to_vector<double>();
  for (const auto& [path, buffer] : loss->buffers())
    for (const double x : buffer->value().to_vector<double>()) all.push_back(x);
  return all;
}

}  // namespace

TEST_SUITE("losses") {
  TEST_CASE("every name stands for its loss with its paper's numbers") {
    const Tensor z = random({7, 6}, "embeddings"), y = labels_of(kLabels);
    const auto equals = [&](const std::string& name, const Variable& expected) {
      INFO(name);
      CHECK(value_of(name, z, y) == doctest::Approx(expected.value().item()).epsilon(1e-6));
    };
    const auto softmax_of = [&](const std::string& name, double sigma, double margin) {
      MultiProxyEntropyOptions options{.sigma = sigma, .margin = margin};
      options.weight_inter = options.weight_intra = 0;
      equals(name, multi_proxy_entropy(Variable(z), proxies_of(name), y, options).loss);
      CHECK(proxies_of(name).shape() == Shape{5, 1, 6});
    };
    softmax_of("proxy-nca++", 18, 0);  // 3^2 |z - w|^2 = 18 - 18 cos
    softmax_of("norm-softmax", 20, 0);
    softmax_of("cosface", 64, 0.35);
    equals("proxy-anchor", proxy_anchor(Variable(z), proxies_of("proxy-anchor"), y));
    equals("arcface", arcface(Variable(z), proxies_of("arcface"), y));
    equals("subcenter-arcface", arcface(Variable(z), proxies_of("subcenter-arcface"), y));
    CHECK(proxies_of("subcenter-arcface").dim(1) == 3);
    equals("proxy-gml", proxy_gml(Variable(z), proxies_of("proxy-gml"), y));
    CHECK(proxies_of("proxy-gml").dim(1) == 12);
    equals("contrastive", contrastive(compare(Variable(z), y)));
    equals("triplet", triplet(compare(Variable(z), y)));
    equals("multi-similarity", multi_similarity(compare(Variable(z), y)));
    equals("mpl", multi_proxy_entropy(Variable(z), proxies_of("mpl"), y).loss);

    const Variable w = proxies_of("soft-triple");
    CHECK(w.dim(1) == 10);
    MultiProxyEntropyOptions options{
        .sigma = 20, .gamma = 0.1, .margin = 0.01, .select = ProxySelect::soft};
    options.weight_inter = options.weight_intra = 0;
    equals("soft-triple",
           multi_proxy_entropy(Variable(z), w, y, options).loss + 0.2 * merging_penalty(w));
    CHECK(merging_penalty(Variable(Tensor::full({3, 1, 4}, DType::f32, 1))).value().item() == 0);
    CHECK_THROWS_WITH_AS(merging_penalty(Variable(z)),
                         doctest::Contains("merging_penalty: proxies must be (classes, "), Error);
  }

  TEST_CASE("keys of other losses are named, a wrong name suggests the right one") {
    LossConfig config;
    config.name = "proxy-anchor";
    config.weight_usage = 0.7;
    config.proxies = 4;
    config.proxy_lr_mult = 7;  // every loss with proxies has it
    CHECK(keys_without_effect(config) == std::vector<std::string>{"proxies", "weight_usage"});
    const LossConfig effective = without_idle_keys(config);
    CHECK(keys_without_effect(effective).empty());
    CHECK(effective.weight_usage == LossConfig().weight_usage);
    CHECK_FALSE(effective.proxies.has_value());
    CHECK(effective.proxy_lr_mult == 7);
    CHECK(keys_without_effect({}).empty());
    CHECK(proxies_per_class({.name = "triplet", .proxies = 4}) == 0);
    CHECK(proxies_per_class({.name = "proxy-anchor", .proxies = 4}) == 1);
    CHECK(proxies_per_class({.name = "soft-triple", .proxies = 4}) == 4);
    CHECK_THROWS_WITH_AS(loss_kind("proxy-ancor"), doctest::Contains("Did you mean 'proxy-anchor'"),
                         UsageError);
  }

  TEST_CASE("a GPU repeats a recorded step of every loss with the bits of a plain one") {
    if (!has_gpu()) return;
    for (const LossKind& kind : loss_kinds()) {
      INFO(kind.name);
      Config config = config_of(std::string(kind.name));
      config.loss.memory = 8;
      config.loss.proxy_share = 0.5;
      CHECK(build_loss(config, 5)->is_recordable());
      CHECK(after_four_steps(config, true) == after_four_steps(config, false));
    }
    Config semi_hard = config_of("triplet");
    semi_hard.loss.mining = "semi-hard";
    CHECK(after_four_steps(semi_hard, true) == after_four_steps(semi_hard, false));
  }

  TEST_CASE("every loss takes steps that reach embeddings and proxies, with and without values") {
    for (const LossKind& kind : loss_kinds()) {
      INFO(kind.name);
      Config config = config_of(std::string(kind.name));
      config.loss.memory = 8;
      config.loss.proxy_share = 0.5;  // 0.05 of 5 classes is nothing but a picture's own
      for (const Device device : {Device::meta, Device::cpu}) {  // meta: as memory is planned
        const auto loss = build_loss(config, 5);
        if (device == Device::meta) loss->move_to(device);
        for (int step = 0; step < 3; ++step) {
          const Tensor z = random({7, 6}, "embeddings");
          const Variable leaf =
              Variable::leaf(device == Device::meta ? Tensor({7, 6}, DType::f32, device) : z);
          const Tensor labels =
              device == Device::meta ? Tensor({7}, DType::i32, device) : labels_of(kLabels);
          Tape tape;
          const Variable y = (*loss)(leaf, labels);
          tape.backward(y);
          REQUIRE(leaf.gradient().is_defined());
          if (device == Device::meta) continue;
          CHECK(std::isfinite(y.value().item()));
          CHECK(sum_to(abs(leaf.gradient()), {}).item() > 0);
          if (const Parameter* proxies = loss->proxy_parameter())
            CHECK(sum_to(abs(proxies->gradient()), {}).item() > 0);
          double sum = 0;
          for (const MetricLoss::Term& term : loss->terms()) sum += term.weight * term.value.item();
          if (!loss->terms().empty()) CHECK(sum == doctest::Approx(y.value().item()).epsilon(1e-5));
        }
      }
    }
  }

  TEST_CASE("without a pair to compare a tuple loss is 0, with gradient 0") {
    const auto check_zero = [](const auto& loss, const std::vector<std::int32_t>& labels) {
      const Variable z = Variable::leaf(random({std::ssize(labels), 6}, "alone"));
      Tape tape;
      const Variable y = loss(compare(z, labels_of(labels)));
      tape.backward(y);
      CHECK(y.value().item() == 0);
      for (const float g : z.gradient().to_vector<float>()) CHECK(g == 0);
    };
    const auto hard = [](const Comparison& p) { return triplet(p); };
    const auto semi = [](const Comparison& p) {
      return triplet(p, {.mining = TripletMining::semi_hard});
    };
    const auto similarity = [](const Comparison& p) { return multi_similarity(p); };
    for (const auto& labels : {std::vector<std::int32_t>{3}, {3, 3, 3}, {0, 1, 2}}) {
      check_zero(hard, labels);
      check_zero(semi, labels);
      check_zero(similarity, labels);
    }
    check_zero([](const Comparison& p) { return contrastive(p); }, {3});
  }

  TEST_CASE("two equal embeddings have a finite gradient") {
    Tensor z = random({4, 6}, "equal");
    z.slice(1, 1).copy_from(z.slice(0, 1));
    for (const char* name : {"contrastive", "triplet", "multi-similarity", "arcface"}) {
      INFO(name);
      const Variable leaf = Variable::leaf(z);
      Tape tape;
      const auto loss = build_loss(config_of(name), 5);
      tape.backward((*loss)(leaf, labels_of({0, 0, 1, 1})));
      for (const float g : leaf.gradient().to_vector<float>()) CHECK(std::isfinite(g));
    }
  }

  TEST_CASE("ArcFace goes on falling beyond pi - margin") {
    // One proxy at angle 0; an embedding that turns away from it must always cost more.
    const Variable w(Tensor::from<double>({2, 1, 3}, {1, 0, 0, 0, 0, 1}));
    double last = 0;
    for (double angle = 0.1; angle < 3.1; angle += 0.1) {
      const Variable z(Tensor::from<double>({1, 3}, {std::cos(angle), std::sin(angle), 0}));
      const double loss = arcface(z, w, labels_of({0}), {.sigma = 4}).value().item();
      CHECK(loss > last);
      last = loss;
    }
  }

  TEST_CASE("a memory compares as a larger batch would") {
    on_every_device([](Device device) {
      const Tensor old = random({4, 6}, "old").to(device), z = random({3, 6}, "new").to(device);
      const Tensor old_labels = labels_of({0, 1, 2, 0}).to(device);
      const Tensor labels = labels_of({0, 1, 1}).to(device);
      EmbeddingMemory memory(nullptr, "memory", {.size = 6, .dim = 6, .start = 1});
      memory.move_to(device);
      const auto sum_of = [](const Tensor& mask) { return sum_to(mask, {}).item(); };
      const double alone = sum_of(compare(Variable(z), labels).negative);
      CHECK(sum_of(memory.compare(Variable(z), labels).negative) == alone);  // nothing is in it
      memory.push(old, old_labels);
      const Comparison pairs = memory.compare(Variable(z), labels);
      CHECK(pairs.cosines.shape() == Shape{3, 9});
      const Tensor both = concatenate(std::vector<Tensor>{z, old}, 0);
      const Tensor both_labels = labels_of({0, 1, 1, 0, 1, 2, 0}).to(device);
      const Comparison whole = compare(Variable(both), both_labels);
      const auto same = [](const Tensor& part, const Tensor& all) {
        const auto a = part.to_vector<double>(), b = all.to_vector<double>();
        for (int i = 0; i < 3; ++i)
          for (int j = 0; j < 9; ++j)  // two places are still empty
            CHECK(a[i * 9 + j] == doctest::Approx(j < 7 ? b[i * 7 + j] : 0).epsilon(1e-6));
      };
      same(pairs.positive, whole.positive);
      same(pairs.negative, whole.negative);
      same(mul(pairs.cosines.value(), add(pairs.positive, pairs.negative)),
           mul(whole.cosines.value(), add(whole.positive, whole.negative)));
    });
  }

  TEST_CASE("a memory forgets the oldest, and waits for its start") {
    EmbeddingMemory memory(nullptr, "memory", {.size = 3, .dim = 2, .start = 3});
    const auto labels_held = [&] { return memory.buffers()[1].item->value().to_vector<float>(); };
    memory.push(Tensor::from<float>({2, 2}, {3, 0, 0, 4}), labels_of({7, 8}));
    CHECK(labels_held() == std::vector<float>{7, 8, -1});
    memory.push(Tensor::from<float>({2, 2}, {0, 1, 1, 0}), labels_of({5, 6}));
    CHECK(labels_held() == std::vector<float>{5, 6, 7});
    CHECK(memory.buffers()[0].item->value().to_vector<float>() ==
          std::vector<float>{0, 1, 1, 0, 1, 0});
    const Variable z(Tensor::from<float>({1, 2}, {1, 1}));
    const auto negatives = [&] {
      return sum_to(memory.compare(z, labels_of({9})).negative, {}).item();
    };
    CHECK(negatives() == 0);
    memory.push(Tensor::from<float>({4, 2}, {1, 0, 1, 0, 1, 0, 1, 0}), labels_of({1, 2, 3, 4}));
    CHECK(labels_held() == std::vector<float>{1, 2, 3});
    CHECK(negatives() == 3);
  }

  TEST_CASE("what a skipped step's NaN leaves in a memory is an empty place") {
    on_every_device([](Device device) {
      const float nan = std::nanf("");
      EmbeddingMemory memory(nullptr, "memory", {.size = 4, .dim = 2});
      memory.move_to(device);
      memory.push(Tensor::from<float>({3, 2}, {1, nan, 0, 2, INFINITY, 1}).to(device),
                  labels_of({0, 1, 2}).to(device));
      CHECK(memory.buffers()[1].item->value().to_vector<float>() ==
            std::vector<float>{-1, 1, -1, -1});
      const Variable z(Tensor::from<float>({2, 2}, {1, 1, 1, 2}).to(device));
      const Variable loss = contrastive(memory.compare(z, labels_of({1, 2}).to(device)));
      CHECK(std::isfinite(loss.value().item()));
    });
  }

  TEST_CASE("what cannot be compared is refused") {
    const Variable z(random({2, 6}, "z")), w(random({5, 1, 6}, "w"));
    const auto refuses = [](const auto& call, const char* text) {
      CHECK_THROWS_WITH_AS(call(), doctest::Contains(text), Error);
    };
    refuses([&] { return proxy_anchor(z, w, labels_of({0, 5})); }, "label 5 of row 1");
    refuses(
        [&] {
          return arcface(z, Variable(random({5, 1, 7}, "w")), labels_of({0, 1}));
        },
        "of one dtype, got");
    refuses(
        [&] {
          return proxy_anchor(z, Variable(random({5, 2, 6}, "w")), labels_of({0, 1}));
        },
        "one proxy per class");
    refuses([&] { return compare(z, labels_of({0, 1, 2})); }, "labels i32 (rows)");
    refuses([&] { EmbeddingMemory(nullptr, "memory", {.size = 0}); }, "1 or more");
    const Comparison many{Variable(Tensor({2, 1 << 14}, DType::f32, Device::meta)), {}, {}};
    refuses([&] { return triplet(many, {.mining = TripletMining::semi_hard}); }, "2^27 triplets");
  }
}

}  // namespace proxent
