// Whole networks against PyTorch's: torchvision's ResNet-18 and ResNet-50 and a BN-Inception
// written for this test, forward and backward, and five training steps.
// tests/golden/make_network_golden.py computes the other side.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "layers/bn_inception.h"
#include "layers/embedding.h"
#include "layers/resnet.h"
#include "tensor/onednn.h"
#include "train/optimizer.h"
#include "train/weights.h"

namespace proxent {
namespace {

constexpr std::int64_t kDim = 16, kClasses = 10, kSamples = 4;

const TensorMap& goldens() {
  static const SafetensorsFile file = read_safetensors(std::filesystem::path(PROXENT_SOURCE_DIR) /
                                                       "tests/golden/networks.safetensors");
  return file.tensors;
}

// Numbers in [-1, 1), 24 bits each, from a name and an index alone.
Tensor hashed(const std::string& name, const Shape& shape) {
  std::uint64_t start = 0xcbf29ce484222325ull;
  for (unsigned char byte : name) start = (start ^ byte) * 0x100000001b3ull;
  Tensor x(shape, DType::f64);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    std::uint64_t z = start + static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    x.data<double>()[i] = static_cast<double>((z ^ (z >> 31)) >> 40) * 0x1p-23 - 1;
  }
  return x;
}

Tensor affine(double shift_by, double scale_by, const Tensor& x) {
  return shift(scale(x, scale_by), shift_by);
}

// In the layout of files: OIHW.
Tensor initial(const std::string& name, const Shape& shape) {
  if (name.ends_with("running_mean")) return Tensor::zeros(shape, DType::f64);
  if (name.ends_with("running_var")) return Tensor::full(shape, DType::f64, 1);
  const Tensor x = hashed(name, shape);
  if (shape.rank() == 1) return name.ends_with("weight") ? affine(1, 0.2, x) : affine(0, 0.1, x);
  const double fan_in = static_cast<double>(shape.with(0, 1).numel());
  return affine(0, std::sqrt(6 / fan_in), x);
}

std::unique_ptr<EmbeddingModel> build(const std::string& arch, DType dtype) {
  const auto make_backbone = [&](Module* parent) -> std::unique_ptr<Backbone> {
    if (const std::optional<int> depth = resnet_depth(arch))
      return std::make_unique<ResNet>(parent, "", ResNetOptions{.depth = *depth});
    return std::make_unique<BnInception>(parent, "");
  };
  auto model = std::make_unique<EmbeddingModel>(
      "model", make_backbone, EmbeddingOptions{.dim = kDim, .pooling = Pooling::avg});
  TensorMap weights;
  for (const auto& [name, value] : weights_of({model.get()}))
    if (!name.ends_with("num_batches_tracked")) weights[name] = initial(name, value.shape());
  for (const auto& [path, parameter] : model->parameters()) {
    parameter->set_trained(false);  // a new gradient cell below, of the new dtype
    parameter->mutable_value() = parameter->value().to(dtype);
    parameter->set_trained(true);
  }
  for (const auto& [path, buffer] : model->buffers())
    buffer->mutable_value() = buffer->value().to(dtype);
  const LoadReport report = load_weights({model.get()}, weights);
  CHECK(report.loaded == report.expected);
  return model;
}

struct Forward {
  Variable embeddings, loss;
};
Forward forward(EmbeddingModel& model, const Tensor& images, DType dtype) {
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < images.dim(0); ++i)
    labels.push_back(static_cast<std::int32_t>(3 * i % kClasses));
  const Variable embeddings = model(images.to(dtype));
  const Tensor classes = scale(hashed("classes", {kClasses, kDim}), 8).to(dtype);
  const Variable logits = matmul(embeddings, classes, {.transpose_b = true});
  return {embeddings, cross_entropy(logits, Tensor::from({images.dim(0)}, labels))};
}

// Norm, and the elements at 0, 1/4, 1/2 and 3/4 of the tensor as files order it.
std::vector<double> summary(const Tensor& tensor) {
  const auto x = tensor.to_vector<double>();
  double squares = 0;
  for (double v : x) squares += v * v;
  std::vector<double> values = {std::sqrt(squares)};
  for (std::int64_t i = 0; i < kSamples; ++i) {
    std::int64_t at = i * tensor.numel() / kSamples;
    if (tensor.shape().rank() == 4) {  // file: (O, I, H, W), here: (O, H, W, I)
      const std::int64_t in = tensor.dim(3), pixels = tensor.dim(1) * tensor.dim(2);
      const std::int64_t image = in * pixels, within = at % image;
      at = at / image * image + within % pixels * in + within / pixels;
    }
    values.push_back(x[at]);
  }
  return values;
}

// Every number to `tolerance` of the golden's largest.
void check_close(const std::string& key, const std::vector<double>& got, double tolerance) {
  const auto expected = goldens().at(key).to_vector<double>();
  REQUIRE(got.size() == expected.size());
  double largest = 0, error = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    error = std::max(error, std::isnan(got[i]) ? INFINITY : std::abs(got[i] - expected[i]));
  }
  INFO(key, ": off by ", error, ", largest is ", largest);
  CHECK(error <= tolerance * largest);
}

struct Tolerances {
  double value, gradient;
};
// Five times what float32 costs PyTorch. An activation whose sign is lost to rounding moves every
// gradient before it by parts in a thousand: PyTorch may have lost none, another order of summation
// does.
Tolerances float32_tolerances(const std::string& prefix) {
  constexpr double kOfOneSign = 1e-3;
  const auto error = [&](const char* name) { return goldens().at(prefix + name).item(); };
  return {5 * error("float32_error_of_value"),
          5 * std::max(kOfOneSign, error("float32_error_of_gradient"))};
}

// Biases of convolutions before a norm: one that subtracts the batch's mean leaves them a gradient
// of 0, one by running statistics does not.
std::set<std::string> cancelled_biases(EmbeddingModel& model) {
  std::set<std::string> paths, biases;
  for (const auto& [path, parameter] : model.parameters()) paths.insert(path);
  for (const std::string& path : paths)
    if (path.ends_with(".bias") && paths.contains(path.substr(0, path.size() - 5) + "_bn.bias"))
      biases.insert(path);
  return biases;
}

void check_network(const std::string& arch, DType dtype) {
  const std::string prefix = arch + "/";
  const auto [tolerance, gradient_tolerance] =
      dtype == DType::f64 ? Tolerances{1e-10, 1e-10} : float32_tolerances(prefix);
  const auto model = build(arch, dtype);
  const Tensor images = hashed("images", {4, 64, 64, 3});
  {
    Tape tape;
    const auto [embeddings, loss] = forward(*model, images, dtype);
    check_close(prefix + "loss", {loss.value().item()}, tolerance);
    check_close(prefix + "embeddings", embeddings.value().to_vector<double>(), tolerance);
    tape.backward(loss);
  }
  const std::set<std::string> cancelled = cancelled_biases(*model);
  double norm_of_weight = 0;  // a convolution's bias follows its weight
  for (const auto& [path, parameter] : model->parameters()) {
    const std::vector<double> gradient = summary(parameter->gradient());
    if (cancelled.contains(path))
      CHECK_MESSAGE(gradient[0] <= (dtype == DType::f64 ? 1e-12 : 1e-3) * norm_of_weight, path);
    else
      check_close(prefix + "gradient/" + path, gradient, gradient_tolerance);
    norm_of_weight = gradient[0];
    parameter->clear_gradient();
  }
  for (const auto& [path, buffer] : model->buffers())
    check_close(prefix + "buffer/" + path, summary(buffer->value()), tolerance);
  model->set_training(false);
  Tape tape;
  const auto [embeddings, loss] = forward(*model, hashed("eval images", images.shape()), dtype);
  check_close(prefix + "eval_embeddings", embeddings.value().to_vector<double>(), tolerance);
  tape.backward(loss);
  for (const auto& [path, parameter] : model->parameters())
    if (cancelled.contains(path))
      check_close(prefix + "eval_gradient/" + path, summary(parameter->gradient()),
                  gradient_tolerance);
}

void check_training(const std::string& name, const OptimizerOptions& options, double learning_rate,
                    DType dtype, double tolerance) {
  const auto model = build("resnet18", dtype);
  Optimizer optimizer(group_parameters(model->parameters(), {.weight_decay = 0.01}), options);
  std::vector<double> losses;
  for (int step = 0; step < 5; ++step) {
    optimizer.zero_gradients();
    Tape tape;
    const Tensor images = hashed("images " + std::to_string(step), {6, 32, 32, 3});
    const Variable loss = forward(*model, images, dtype).loss;
    losses.push_back(loss.value().item());
    tape.backward(loss);
    optimizer.step(learning_rate);
  }
  check_close(name + "/losses", losses, tolerance);
  for (const auto& [path, parameter] : model->parameters())
    check_close(name + "/value/" + path, summary(parameter->value()), tolerance);
  for (const auto& [path, buffer] : model->buffers())
    check_close(name + "/value/" + path, summary(buffer->value()), tolerance);
}
}  // namespace
}  // namespace proxent

TEST_SUITE("networks") {
  using namespace proxent;

  TEST_CASE("ResNet-18 in float64") { check_network("resnet18", DType::f64); }
  TEST_CASE("ResNet-50 in float64") { check_network("resnet50", DType::f64); }
  TEST_CASE("ResNet-18 in float32") { check_network("resnet18", DType::f32); }
  TEST_CASE("ResNet-50 in float32") { check_network("resnet50", DType::f32); }
  TEST_CASE("BN-Inception in float64") { check_network("bn-inception", DType::f64); }
  TEST_CASE("BN-Inception in float32") { check_network("bn-inception", DType::f32); }
  TEST_CASE("ResNet-18 in float32 by the reference loops") {
    struct WithoutOnednn {
      WithoutOnednn() { set_onednn_enabled(false); }
      ~WithoutOnednn() { set_onednn_enabled(true); }
    } off;
    check_network("resnet18", DType::f32);
  }
  TEST_CASE("five steps of SGD") {
    check_training("sgd",
                   {.kind = OptimizerOptions::Kind::sgd, .momentum = 0.9, .is_nesterov = true},
                   0.05, DType::f64, 1e-8);
  }
  TEST_CASE("five steps of AdamW") {
    check_training("adamw", {.kind = OptimizerOptions::Kind::adamw}, 1e-3, DType::f64, 1e-8);
  }
  TEST_CASE("five steps of RMSprop") {
    check_training("rmsprop", {.kind = OptimizerOptions::Kind::rmsprop}, 1e-3, DType::f64, 1e-8);
  }
}
