#include "train/weights.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "layers/init.h"
#include "layers/resnet.h"
#include "tests/temp_folder.h"
#include "tests/test_data.h"

namespace proxent {
namespace {

// 0, 1, 2, ... so that every element tells where it came from.
Tensor counted(Shape shape, DType dtype = DType::f32, double first = 0) {
  Tensor x(shape, DType::f64);
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<double>()[i] = first + static_cast<double>(i);
  return x.to(dtype);
}

struct Norm : Module {
  Norm(Module* parent, std::string name)
      : Module(parent, std::move(name)),
        weight(this, "weight", Role::norm, counted({2})),
        running_mean(this, "running_mean", counted({2})) {}
  Parameter weight;
  Buffer running_mean;
};
struct Tree : Module {
  Tree()
      : Module(nullptr, "tree"),
        kernel(this, "conv1.weight", Role::weight, counted({2, 3, 1, 4})),
        bn1(this, "bn1"),
        embedding(this, "embedding.weight", Role::weight, counted({2, 2})) {}
  Parameter kernel;  // KRSC
  Norm bn1;
  Parameter embedding;
};

TensorMap whole_file() {
  return {{"conv1.weight", counted({2, 4, 3, 1}, DType::f32, 100)},
          {"bn1.weight", counted({2}, DType::f32, 10)},
          {"bn1.running_mean", counted({2}, DType::f32, 20)},
          {"bn1.num_batches_tracked", Tensor::full({}, DType::i64, 5)},
          {"embedding.weight", counted({2, 2}, DType::f32, 30)}};
}

std::string complaint(Tree& tree, const TensorMap& tensors, const LoadOptions& options = {}) {
  try {
    load_weights({&tree}, tensors, options);
    return "";
  } catch (const DataError& error) {
    return error.message();
  }
}

TEST_SUITE("weights") {
  TEST_CASE("kernels are OIHW in files and KRSC in memory") {
    Tree tree;
    const LoadReport report = load_weights({&tree}, whole_file());
    CHECK(report.text() == "weights: 4 of 4 tensors loaded");
    const auto in_file = whole_file().at("conv1.weight").to_vector<float>();
    const auto in_memory = tree.kernel.value().to_vector<float>();
    for (int k = 0; k < 2; ++k)
      for (int c = 0; c < 4; ++c)
        for (int r = 0; r < 3; ++r)
          CHECK(in_memory[(k * 3 + r) * 4 + c] == in_file[(k * 4 + c) * 3 + r]);
    CHECK(tree.embedding.value().to_vector<float>() == std::vector<float>{30, 31, 32, 33});
    CHECK(tree.bn1.running_mean.value().to_vector<float>() == std::vector<float>{20, 21});
  }

  TEST_CASE("a file of PyTorch is found by its first bytes, and its prefixes dropped") {
    struct One : Module {
      One()
          : Module(nullptr, "one"),
            weight(this, "a.weight", Role::weight, Tensor::zeros({2, 3}, DType::f32)) {}
      Parameter weight;
    } tree;
    for (const char* name : {"weights.pth", "weights_legacy.pth"}) {
      const std::filesystem::path path =
          std::filesystem::path(PROXENT_SOURCE_DIR "/tests/golden/pth") / name;
      CHECK(load_weights({&tree}, path, {.is_partial = true}).loaded == 1);
      CHECK(tree.weight.value().to_vector<float>() == std::vector<float>{-2, -1, 0, 1, 2, 3});
      tree.weight.mutable_value().fill(0);
    }
  }

  TEST_CASE("what is written reads back, with the counter that PyTorch expects") {
    Tree tree, other;
    load_weights({&tree}, whole_file());
    const TempFolder folder;
    write_safetensors(folder.path() / "w", weights_of({&tree}), {{"format", "pt"}});
    const TensorMap written = read_safetensors(folder.path() / "w").tensors;
    CHECK(written.size() == 5);
    CHECK(written.at("bn1.num_batches_tracked").shape() == Shape{});
    CHECK(written.at("bn1.num_batches_tracked").dtype() == DType::i64);
    for (const auto& [name, tensor] : whole_file()) {
      CHECK(written.at(name).shape() == tensor.shape());
      if (!name.ends_with("tracked"))
        CHECK(written.at(name).to_vector<double>() == tensor.to_vector<double>());
    }
    CHECK(load_weights({&other}, folder.path() / "w").loaded == 4);
    CHECK(load_weights({&other}, folder.path() / "w").trailing_bytes == 0);
    std::ofstream(folder.path() / "w", std::ios::app | std::ios::binary) << "12345";
    CHECK(load_weights({&other}, folder.path() / "w").trailing_bytes == 5);
    CHECK(other.kernel.value().to_vector<float>() == tree.kernel.value().to_vector<float>());
    // A copy: later training does not reach into it.
    const TensorMap copy = weights_of({&tree});
    tree.embedding.mutable_value().fill(0);
    CHECK(copy.at("embedding.weight").to_vector<float>()[3] == 33);
  }

  TEST_CASE("prefixes of wrappers are dropped until the tree knows the name") {
    for (const std::string prefix :
         {"module.", "model.", "backbone.", "encoder.", "_orig_mod.", "module._orig_mod.model."}) {
      Tree tree;
      TensorMap tensors;
      for (const auto& [name, tensor] : whole_file()) tensors.emplace(prefix + name, tensor);
      tensors.emplace(prefix + "fc.weight", counted({3, 2}));
      const LoadReport report = load_weights({&tree}, tensors);
      CHECK(report.loaded == 4);
      CHECK(report.unused == std::vector<std::string>{prefix + "fc.weight"});
    }
    // A tree may have a module of such a name itself.
    struct Wrapped : Module {
      Wrapped() : Module(nullptr, "w"), model(this, "model.weight", Role::weight, counted({2})) {}
      Parameter model;
    } wrapped;
    load_weights({&wrapped}, {{"model.model.weight", counted({2}, DType::f32, 7)}});
    CHECK(wrapped.model.value().to_vector<float>() == std::vector<float>{7, 8});
    Tree tree;
    TensorMap twice = whole_file();
    twice.emplace("module.bn1.weight", counted({2}));
    CHECK(complaint(tree, twice) ==
          "weights: 'bn1.weight' and 'module.bn1.weight' are both 'bn1.weight'; keep one of them");
  }

  TEST_CASE("a row is as good as a vector") {
    Tree tree;
    TensorMap tensors = whole_file();
    const auto values = tensors.at("bn1.weight").to_vector<float>();
    tensors["bn1.weight"] = tensors.at("bn1.weight").reshape({1, std::ssize(values)});
    CHECK(load_weights({&tree}, tensors).text() == "weights: 4 of 4 tensors loaded");
    CHECK(tree.bn1.weight.value().to_vector<float>() == values);
  }

  TEST_CASE("all that does not fit is listed, and nothing is changed") {
    Tree tree;
    TensorMap tensors = whole_file();
    tensors.erase("bn1.weight");
    tensors.erase("bn1.running_mean");
    tensors["conv1.weight"] = counted({2, 3, 1, 4});  // KRSC: not what files hold
    tensors["embedding.weight"] = counted({2, 2}, DType::i32);
    tensors["layer1.conv1.weight"] = counted({1});
    tensors["fc.bias"] = counted({1});
    const std::string lists =
        "weights: 0 of 4 tensors loaded\n"
        "  missing in the file (2):\n"
        "    bn1.weight\n"
        "    bn1.running_mean\n"
        "  unexpected in the file (1):\n"
        "    layer1.conv1.weight\n"
        "  mis-shaped (2):\n"
        "    conv1.weight: expected (2, 4, 3, 1) f32, the file has (2, 3, 1, 4) f32\n"
        "    embedding.weight: expected (2, 2) f32, the file has (2, 2) i32\n"
        "  not used (1):\n"
        "    fc.bias";
    CHECK(complaint(tree, tensors) ==
          "the weights do not fit the model, nothing was changed; choose another --arch or file, "
          "or load what fits with --partial\n" +
              lists);
    CHECK(complaint(tree, tensors, {.is_partial = true}) ==
          "no tensor of the file fits the model; is it of another architecture?\n" + lists);

    tensors["embedding.weight"] = counted({2, 2}, DType::f64, 50);
    CHECK(complaint(tree, tensors) != "");
    CHECK(tree.embedding.value().to_vector<float>()[0] == 0);
    const LoadReport report = load_weights({&tree}, tensors, {.is_partial = true});
    CHECK(report.loaded == 1);
    CHECK(report.not_loaded() ==
          std::vector<std::string>{"bn1.weight", "bn1.running_mean", "conv1.weight"});
    CHECK(tree.embedding.value().to_vector<float>()[0] == 50);
    CHECK(tree.bn1.weight.value().to_vector<float>()[1] == 1);
  }

  TEST_CASE("a new head may be missing, a classifier may be unused") {
    Tree tree;
    TensorMap tensors = whole_file();
    tensors.erase("embedding.weight");
    tensors.emplace("fc.weight", counted({2, 2}));
    tensors.emplace("proxies", counted({2, 2}));
    CHECK(complaint(tree, tensors) != "");
    const LoadReport report = load_weights({&tree}, tensors, {.may_be_missing = {"embedding"}});
    CHECK(report.not_loaded() == std::vector<std::string>{"embedding.weight"});
    CHECK(report.unused == std::vector<std::string>{"fc.weight", "proxies"});
    CHECK(complaint(tree, tensors, {.may_be_missing = {"embed"}}) != "");
    CHECK(complaint(tree, tensors, {.may_be_missing = {"embedding"}, .may_be_unused = {}}) != "");
  }

  TEST_CASE("two trees share a file") {
    struct Loss : Module {
      Loss() : Module(nullptr, "loss"), proxies(this, "proxies", Role::proxies, counted({3, 2})) {}
      Parameter proxies;
    } loss;
    Tree tree;
    TensorMap tensors = whole_file();
    tensors.emplace("proxies", counted({3, 2}, DType::bf16, 4));
    CHECK(load_weights({&tree, &loss}, tensors).loaded == 5);
    CHECK(loss.proxies.value().to_vector<float>()[5] == 9);
    CHECK(weights_of({&tree, &loss}).size() == 6);
    CHECK_THROWS_AS(weights_of({&tree, &tree}), Error);
  }

  TEST_CASE("weights that are not finite are refused") {
    Tree tree;
    TensorMap tensors = whole_file();
    tensors["bn1.weight"] =
        Tensor::from<float>({2}, {std::numeric_limits<float>::quiet_NaN(), INFINITY});
    CHECK(complaint(tree, tensors, {.origin = "w.safetensors"}) ==
          "w.safetensors: 'bn1.weight' has 2 values that are not finite");
    CHECK(tree.embedding.value().to_vector<float>()[0] == 0);
  }

  TEST_CASE("ResNets have torchvision's names, counts and layout") {
    struct Row {
      int depth;
      std::int64_t tensors, parameters;  // of torchvision's state_dict, without fc
    };
    for (const Row& row : {Row{18, 120, 11'176'512}, Row{34, 216, 21'284'672},
                           Row{50, 318, 23'508'032}, Row{101, 624, 42'500'160}}) {
      CAPTURE(row.depth);
      ResNet model(nullptr, "resnet", {.depth = row.depth});
      const TensorMap tensors = weights_of({&model});
      CHECK(static_cast<std::int64_t>(tensors.size()) == row.tensors);
      std::int64_t elements = 0;
      for (const auto& [name, tensor] : tensors) {
        const bool is_statistic = name.find(".running_") != name.npos || name.ends_with("tracked");
        if (!is_statistic) elements += tensor.numel();
      }
      CHECK(elements == row.parameters);
      CHECK(tensors.at("conv1.weight").shape() == Shape{64, 3, 7, 7});
      CHECK(tensors.at("layer2.0.downsample.0.weight").shape() ==
            (row.depth < 50 ? Shape{128, 64, 1, 1} : Shape{512, 256, 1, 1}));
      CHECK(tensors.at("layer4.0.conv2.weight").shape() == Shape{512, 512, 3, 3});
      CHECK(tensors.at("layer1.0.bn2.num_batches_tracked").shape() == Shape{});
      if (row.depth > 18) continue;
      initialize(model, 1);
      ResNet other(nullptr, "resnet", {.depth = row.depth});
      initialize(other, 2);
      CHECK(load_weights({&other}, weights_of({&model})).not_loaded().empty());
      const auto a = model.parameters(), b = other.parameters();
      for (std::size_t i = 0; i < a.size(); ++i)
        CHECK(a[i].item->value().to_vector<float>() == b[i].item->value().to_vector<float>());
    }
  }

  TEST_CASE("real ImageNet weights with missing layers load in part") {
    const std::filesystem::path path =
        test_data("weights/resnet18_imagenet_partial_bn.safetensors");
    if (path.empty()) return;
    ResNet model(nullptr, "resnet", {.depth = 18});
    initialize(model, 1);
    CHECK_THROWS_AS(load_weights({&model}, path), DataError);
    const LoadReport report = load_weights({&model}, path, {.is_partial = true});
    CHECK(report.loaded == 80);
    CHECK(report.expected == 100);
    CHECK(report.unused == std::vector<std::string>{"fc.bias", "fc.weight"});
    CHECK(report.unexpected.empty());
    CHECK(report.misshaped.empty());
    REQUIRE(report.missing.size() == 20);
    for (const std::string& name : report.missing) {
      CAPTURE(name);
      CHECK(name.starts_with("layer4."));
      CHECK(name.find("downsample") == name.npos);
    }
    const Tensor stored = read_safetensors(path).tensors.at("conv1.weight");
    const Tensor& loaded = model.conv1.weight.value();
    for (const std::int64_t k : {0, 63})
      for (const std::int64_t c : {0, 2})
        CHECK(loaded.data<float>()[((k * 7 + 4) * 7 + 5) * 3 + c] ==
              stored.data<float>()[((k * 3 + c) * 7 + 4) * 7 + 5]);
  }
}

}  // namespace
}  // namespace proxent
