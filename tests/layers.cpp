// The module tree and the networks: names, counts, initial values, modes.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "layers/bn_inception.h"
#include "layers/census.h"
#include "layers/init.h"
#include "layers/resnet12.h"
#include "train/model.h"

TEST_SUITE("layers") {
  using namespace proxent;

  std::int64_t elements(Module & module) {
    std::int64_t count = 0;
    for (const auto& [path, parameter] : module.parameters()) count += parameter->value().numel();
    return count;
  }
  std::set<std::string> paths(Module & module) {
    std::set<std::string> found;
    for (const auto& [path, parameter] : module.parameters()) found.insert(path);
    for (const auto& [path, buffer] : module.buffers()) found.insert(path);
    return found;
  }
  Module& child(Module & root, const std::string& wanted) {
    for (const auto& [path, module] : root.modules())
      if (path == wanted) return *module;
    fail("no module ", wanted);
  }
  double deviation(const Tensor& x) {
    double sum = 0, squares = 0;
    for (double v : x.to_vector<double>()) sum += v, squares += v * v;
    const double n = static_cast<double>(x.numel());
    return std::sqrt(squares / n - sum / n * sum / n);
  }

  TEST_CASE("ResNets have torchvision's parameters") {
    struct Row {
      int depth;
      std::int64_t parameters, tensors, norms, features;
    };
    // Parameters without fc; tensors of the state dict without fc's two and each norm's counter.
    for (const Row& row : {Row{18, 11176512, 120, 20, 512}, Row{34, 21284672, 216, 36, 512},
                           Row{50, 23508032, 318, 53, 2048}, Row{101, 42500160, 624, 104, 2048},
                           Row{152, 58143808, 930, 155, 2048}}) {
      CAPTURE(row.depth);
      ResNet net(nullptr, "resnet", {.depth = row.depth});
      CHECK(elements(net) == row.parameters);
      CHECK(static_cast<std::int64_t>(net.parameters().size() + net.buffers().size()) ==
            row.tensors - row.norms);
      CHECK(net.features() == row.features);
    }
    CHECK_THROWS_AS(ResNet(nullptr, "", {.depth = 20}), UsageError);
  }

  TEST_CASE("an observer sees every call with its shapes, until it goes") {
    ResNet net(nullptr, "resnet", {.depth = 18, .stem = Stem::small});
    net.set_training(false);
    const Variable x(Tensor::zeros({1, 8, 8, 3}, DType::f32));
    std::vector<std::string> seen;
    int convolutions = 0, hidden = 0;
    {
      ModuleObserver outer([&](const ModuleCall& call) {
        seen.push_back(detail::concat(call.module.name(), call.x.shape(), call.y.shape(),
                                      call.has_relu ? " relu" : "",
                                      call.has_residual ? " add" : ""));
        convolutions += dynamic_cast<const Conv2d*>(&call.module) != nullptr;
      });
      net(x);
      ModuleObserver inner([&](auto&&...) { ++hidden; });
      net(x);
    }
    net(x);
    CHECK(hidden == static_cast<int>(seen.size()));
    CHECK(seen.front() == "conv1(1, 8, 8, 3)(1, 8, 8, 64)");
    CHECK(seen[1] == "bn1(1, 8, 8, 64)(1, 8, 8, 64) relu");
    CHECK(std::count(seen.begin(), seen.end(), "bn2(1, 4, 4, 128)(1, 4, 4, 128) relu add") == 2);
    CHECK(seen.back() == "resnet(1, 8, 8, 3)(1, 1, 1, 512)");
    CHECK(std::count(seen.begin(), seen.end(), "downsample(1, 8, 8, 64)(1, 4, 4, 128)") == 1);
    CHECK(convolutions == 1 + 16 + 3);
  }

  TEST_CASE("a census counts what a ResNet calls, at the sizes of a batch") {
    for (const auto& [depth, blocks, shortcuts] :
         {std::array{18, 8, 3}, {34, 16, 3}, {50, 16, 4}, {101, 33, 4}}) {
      INFO(depth);
      const int per_block = depth >= 50 ? 3 : 2;
      const Census census = census_of({.depth = depth}, 64, 7);
      const auto convolutions = static_cast<int>(census.convolutions.size());
      CHECK(convolutions == 1 + blocks * per_block + shortcuts);
      CHECK(census.convolutions.front().x == Shape{7, 64, 64, 3});
      CHECK_FALSE(census.convolutions.front().wants_dx);
      CHECK(census.convolutions.back().w[0] == census.batch_norms.back().x[3]);
      const auto count = [&](bool has_relu, bool has_residual) {
        return std::count_if(
            census.batch_norms.begin(), census.batch_norms.end(), [&](const BatchNormCall& call) {
              return call.has_relu == has_relu && call.has_residual == has_residual;
            });
      };
      CHECK(std::ssize(census.batch_norms) == convolutions);
      CHECK(count(true, true) == blocks);
      CHECK(count(false, false) == shortcuts);
      CHECK(count(true, false) == 1 + blocks * (per_block - 1));
    }
    const Census census = census_of({.depth = 50}, 64, 2);
    const auto once = distinct(census.convolutions);
    CHECK(once.size() == 23);
    std::int64_t calls = 0;
    for (const auto& [call, count] : once) calls += count;
    CHECK(calls == 53);
    const ConvCall second_stage{{2, 8, 8, 128}, {128, 3, 3, 128}, {.padding = 1}};
    CHECK(std::count(census.convolutions.begin(), census.convolutions.end(), second_stage) == 3);
    CHECK(resnet_depth("resnet50") == 50);
    CHECK(resnet_names() ==
          std::vector<std::string>{"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"});
    for (const char* name : {"resnet", "resnet12", "resnet051", "resnet500", "vgg50", ""})
      CHECK_FALSE(resnet_depth(name).has_value());
  }

  TEST_CASE("a census of ResNet-12 finds nothing fused, and leaves it training where it did") {
    ResNet12 net(nullptr, "resnet12");
    net.layer2.bn1.set_training(false);
    const Census census = census_of(net, 16, 2);
    CHECK(census.convolutions.size() == 16);
    // The first block's shortcut takes the images, too.
    CHECK(std::count_if(census.convolutions.begin(), census.convolutions.end(),
                        [](const ConvCall& call) { return !call.wants_dx; }) == 2);
    CHECK(census.batch_norms.size() == 16);
    for (const BatchNormCall& call : census.batch_norms) {
      CHECK_FALSE(call.has_relu);
      CHECK_FALSE(call.has_residual);
    }
    for (const auto& [path, module] : net.modules())
      CHECK(module->is_training() == (path != "layer2.bn1"));
    CHECK_THROWS_AS(census_of(net, 1, 2), Error);  // a pool needs two pixels
    CHECK(net.is_training());
  }

  TEST_CASE("BN-Inception has the parameters, names and sizes of its PyTorch port") {
    BnInception net(nullptr, "bn-inception");
    CHECK(elements(net) == 11'295'240 - 1000 * 1025);  // without last_linear
    const auto names = paths(net);
    CHECK(names.size() == 69 * 6);
    for (const char* name :
         {"conv1_7x7_s2.bias", "conv1_7x7_s2_bn.running_mean", "conv2_3x3_reduce.weight",
          "conv2_3x3_bn.weight", "inception_3a_1x1.weight", "inception_3a_pool_proj_bn.bias",
          "inception_3c_double_3x3_2_bn.running_var", "inception_4e_3x3.bias",
          "inception_5b_double_3x3_reduce.weight", "inception_5b_pool_proj.weight"})
      CHECK_MESSAGE(names.count(name) == 1, name);
    CHECK(names.count("inception_3c_1x1.weight") == 0);
    CHECK(names.count("inception_4e_pool_proj.weight") == 0);
    const Census census = census_of(net, 224, 3);
    CHECK(census.convolutions.size() == 69);
    CHECK(census.batch_norms.size() == 69);
    CHECK(census.convolutions.front().x == Shape{3, 224, 224, 3});
    CHECK(census.convolutions.back().x[1] == 7);
    for (const BatchNormCall& call : census.batch_norms) {
      CHECK(call.has_relu);
      CHECK_FALSE(call.has_residual);
    }
    net.set_training(false);
    CHECK(net(Tensor::zeros({1, 96, 64, 3}, DType::f32)).shape() == Shape{1, 3, 2, 1024});
    CHECK(net(Tensor::zeros({1, 227, 227, 3}, DType::f32)).shape() == Shape{1, 7, 7, 1024});
    CHECK_THROWS_WITH_AS(net(Tensor::zeros({1, 75, 64, 3}, DType::f32)),
                         doctest::Contains("a map of 9x8 pixels cannot be halved"), UsageError);
  }

  TEST_CASE("BN-Inception takes the options of every backbone") {
    const ModelConfig config{.arch = "bn-inception",
                             .pool = "avg+max",
                             .embed_dim = 6,
                             .head = "ln-linear",
                             .bn_mode = "frozen",
                             .recompute = "relu"};
    const auto model = build_model(config, 3);
    freeze(*model, {"conv1_7x7_s2", "inception_3a_1x1"});
    std::int64_t trained = 0;
    for (const auto& [path, parameter] : model->parameters()) {
      const bool is_norm = path.find("_bn.") != std::string::npos;
      const bool is_frozen =
          path.starts_with("conv1_7x7_s2.") || path.starts_with("inception_3a_1x1.");
      CHECK_MESSAGE(parameter->wants_gradient() == !(is_norm || is_frozen), path);
      trained += parameter->wants_gradient();
    }
    CHECK(trained == 67 * 2 + 2);
    CHECK((*model)(Tensor::zeros({2, 64, 64, 3}, DType::f32)).shape() == Shape{2, 6});
  }

  TEST_CASE("names are torchvision's, and the bottleneck strides in its 3x3") {
    ResNet net(nullptr, "resnet", {.depth = 50});
    const auto names = paths(net);
    for (const char* name :
         {"conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight",
          "layer1.0.downsample.1.bias", "layer2.0.conv2.weight", "layer4.2.bn3.weight"})
      CHECK_MESSAGE(names.count(name) == 1, name);
    CHECK(names.count("layer1.1.downsample.0.weight") == 0);
    const Variable y = net.layer2(Tensor::zeros({1, 8, 8, 256}, DType::f32));
    CHECK(y.shape() == Shape{1, 4, 4, 512});
  }

  TEST_CASE("stems") {
    const Tensor x = Tensor::zeros({2, 32, 32, 3}, DType::f32);
    CHECK(ResNet(nullptr, "", {.depth = 18, .stem = Stem::imagenet})(x).shape() ==
          Shape{2, 1, 1, 512});
    CHECK(ResNet(nullptr, "", {.depth = 18, .stem = Stem::compact})(x).shape() ==
          Shape{2, 2, 2, 512});
    CHECK(ResNet(nullptr, "", {.depth = 18, .stem = Stem::small})(x).shape() ==
          Shape{2, 4, 4, 512});
    CHECK(ResNet12(nullptr, "")(Tensor::zeros({1, 84, 84, 3}, DType::f32)).shape() ==
          Shape{1, 5, 5, 640});
  }

  TEST_CASE("a narrow ResNet has every layer's channels in proportion") {
    const Tensor x = Tensor::zeros({1, 32, 32, 3}, DType::f32);
    ResNet narrow(nullptr, "", {.depth = 18, .stem = Stem::small, .width = 16});
    CHECK(narrow(x).shape() == Shape{1, 4, 4, 128});
    ResNet deep(nullptr, "", {.depth = 50, .stem = Stem::compact, .width = 2});
    CHECK(deep(x).shape() == Shape{1, 2, 2, 64});
    CHECK_THROWS_WITH_AS(ResNet(nullptr, "", {.depth = 18, .width = 0}),
                         doctest::Contains("resnet: width must be 1 or more, got 0"), UsageError);
  }

  TEST_CASE("initial values: torchvision's spread, a function of seed and path alone") {
    const ModelConfig config{.arch = "resnet18", .embed_dim = 64};
    const auto model = build_model(config, 7);
    const auto again = build_model(config, 7);
    const auto other = build_model(config, 8);
    bool any_difference = false;
    for (std::size_t i = 0; i < model->parameters().size(); ++i) {
      const Tensor& value = model->parameters()[i].item->value();
      CHECK(value.to_vector<float>() == again->parameters()[i].item->value().to_vector<float>());
      any_difference |=
          value.to_vector<float>() != other->parameters()[i].item->value().to_vector<float>();
    }
    CHECK(any_difference);
    // 2.4 million draws: the sample deviation is within 0.1 % of the population's.
    auto& block = dynamic_cast<BasicBlock&>(child(*model, "layer4.1"));
    CHECK(deviation(block.conv2.weight.value()) ==
          doctest::Approx(std::sqrt(2.0 / (512 * 9))).epsilon(0.003));
    // Uniform in +-1/sqrt(512) has deviation 1/sqrt(3 * 512); 32,768 draws.
    CHECK(deviation(model->embedding.weight.value()) ==
          doctest::Approx(1 / std::sqrt(3.0 * 512)).epsilon(0.02));
    CHECK(model->embedding.bias->value().to_vector<float>()[0] !=
          model->embedding.weight.value().to_vector<float>()[0]);

    // kaiming_normal_(mode="fan_out") of (64, 512), and no bias.
    const auto kaiming =
        build_model({.arch = "resnet18", .embed_dim = 64, .head_init = "kaiming"}, 7);
    CHECK(deviation(kaiming->embedding.weight.value()) ==
          doctest::Approx(std::sqrt(2.0 / 64)).epsilon(0.02));
    for (const float bias : kaiming->embedding.bias->value().to_vector<float>()) CHECK(bias == 0);
  }

  TEST_CASE("the embedding has length 1 for every pooling and head") {
    Tensor x({2, 32, 32, 3}, DType::f32);
    fill_normal(x, Philox(0, 0), 0, 1);
    for (const char* pool : {"avg", "max", "avg+max", "gem"})
      for (const std::string head : {"linear", "ln-linear", "linear-ln"}) {
        if (head != "linear" && std::string(pool) != "avg") continue;
        CAPTURE(pool);
        const auto model = build_model(
            {.arch = "resnet18", .stem = "compact", .pool = pool, .embed_dim = 16, .head = head},
            1);
        const Variable y = (*model)(x);
        CHECK(y.shape() == Shape{2, 16});
        for (int row = 0; row < 2; ++row) {
          double sum = 0, squares = 0;
          for (int i = 0; i < 16; ++i) {
            const double value = y.value().data<float>()[16 * row + i];
            sum += value;
            squares += value * value;
          }
          CHECK(squares == doctest::Approx(1));
          CHECK((std::abs(sum) < 1e-5) == (head == "linear-ln"));
        }
      }
  }

  TEST_CASE("the three modes of a batch norm are three things") {
    Tensor x({4, 2, 2, 3}, DType::f32);
    fill_normal(x, Philox(0, 0), 2, 1);
    struct Row {
      BatchNormMode mode;
      bool moves_statistics, trains_affine;
    };
    for (const Row& row :
         {Row{BatchNormMode::train, true, true}, Row{BatchNormMode::eval_stats, false, true},
          Row{BatchNormMode::frozen, false, false}}) {
      BatchNorm2d norm(nullptr, "norm", 3);
      norm.set_mode(row.mode);
      norm.set_training(true);
      Tape tape;
      const Variable y = norm(Variable::leaf(x));
      tape.backward(sum(square(y)));
      const bool has_moved = norm.running_mean.value().to_vector<float>()[0] != 0;
      CHECK(has_moved == row.moves_statistics);
      CHECK(norm.weight.wants_gradient() == row.trains_affine);
      if (row.trains_affine) CHECK(norm.weight.gradient().is_defined());
    }
    BatchNorm2d norm(nullptr, "norm", 3);
    norm.set_training(false);
    norm(Variable(x));
    CHECK(norm.running_mean.value().to_vector<float>()[0] == 0);
  }

  TEST_CASE("what is computed again gives the same gradients and running statistics") {
    Tensor x({2, 64, 64, 3}, DType::f32);
    fill_normal(x, Philox(0, 0), 0, 1);
    // What is left of the memory without ReLUs; ResNet-12 has leaky ones.
    for (const auto& [arch, share] :
         {std::pair{"resnet12", 1.0}, {"bn-inception", 0.85}, {"resnet34", 0.75}}) {
      CAPTURE(arch);
      std::vector<std::vector<float>> expected;
      std::vector<std::int64_t> kept;
      for (const char* recompute : {"none", "relu", "block"}) {
        const auto model = build_model({.arch = arch, .embed_dim = 8, .recompute = recompute}, 1);
        if (arch == std::string("resnet34"))
          freeze(*model, {"conv1", "bn1"});  // so that the first block is given a constant
        Tape tape;
        const std::int64_t before = memory_report(Device::cpu).in_use;
        const Variable embeddings = (*model)(x);
        const Variable loss = sum(square(embeddings - 0.1));
        kept.push_back(memory_report(Device::cpu).in_use - before);
        tape.backward(loss);
        std::vector<std::vector<float>> found;
        for (const auto& [path, parameter] : model->parameters())
          if (parameter->is_trained()) found.push_back(parameter->gradient().to_vector<float>());
        for (const auto& [path, buffer] : model->buffers())
          found.push_back(buffer->value().to_vector<float>());
        if (expected.empty()) expected = found;
        CHECK(found == expected);
      }
      CHECK(static_cast<double>(kept[1]) <= share * static_cast<double>(kept[0]));
      CHECK(kept[2] < kept[0] / 2);
    }
  }

  TEST_CASE("a block with fresh weights starts as its shortcut") {
    const auto model = build_model({.arch = "resnet18", .embed_dim = 8}, 1);
    const auto started = start_blocks_as_identity(
        *model, {"layer4.1.conv1.weight", "embedding.weight", "layer3.0.downsample.0.weight"});
    CHECK(started == std::vector<std::string>{"layer4.1"});
    auto& block = child(*model, "layer4.1");
    block.set_training(false);
    Tensor x({1, 2, 2, 512}, DType::f32);
    fill_uniform(x, Philox(0, 0), 0, 1);
    CHECK(block(x).value().to_vector<float>() == x.to_vector<float>());
  }

  TEST_CASE("frozen modules train nothing, and unknown ones are refused") {
    const auto model = build_model({.arch = "resnet18", .embed_dim = 8}, 1);
    freeze(*model, {"conv1", "layer1"});
    for (const auto& [path, parameter] : model->parameters())
      CHECK(parameter->is_trained() ==
            !(path.starts_with("conv1.") || path.starts_with("layer1.")));
    CHECK_THROWS_WITH_AS(freeze(*model, {"layer"}), doctest::Contains("no module 'layer'"),
                         UsageError);
  }
}
