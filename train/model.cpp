#include "train/model.h"

#include <algorithm>

#include "layers/bn_inception.h"
#include "layers/init.h"
#include "layers/resnet12.h"
#include "train/choice.h"

namespace proxent {
namespace {

std::unique_ptr<Backbone> build_backbone(Module* parent, const ModelConfig& config) {
  if (config.arch == "resnet12") return std::make_unique<ResNet12>(parent, "");
  if (config.arch == "bn-inception") return std::make_unique<BnInception>(parent, "");
  const std::optional<int> depth = resnet_depth(config.arch);
  check<UsageError>(depth.has_value(), "model.arch: unknown architecture '", config.arch, "'");
  const Stem stem = chosen<Stem>(
      "model.stem", config.stem,
      {{"imagenet", Stem::imagenet}, {"small", Stem::small}, {"compact", Stem::compact}});
  return std::make_unique<ResNet>(
      parent, "", ResNetOptions{.depth = *depth, .stem = stem, .width = config.width});
}

Pooling pooling_of(const std::string& name) {
  return chosen<Pooling>("model.pool", name,
                         {{"avg", Pooling::avg},
                          {"max", Pooling::max},
                          {"avg+max", Pooling::avg_max},
                          {"gem", Pooling::gem}});
}

HeadNorm head_norm_of(const std::string& name) {
  return chosen<HeadNorm>("model.head", name,
                          {{"linear", HeadNorm::none},
                           {"ln-linear", HeadNorm::before_linear},
                           {"linear-ln", HeadNorm::behind_linear}});
}

LinearInit head_init_of(const std::string& name) {
  return chosen<LinearInit>("model.head_init", name,
                            {{"uniform", LinearInit::uniform}, {"kaiming", LinearInit::kaiming}});
}

BatchNormMode batch_norm_mode_of(const std::string& name) {
  return chosen<BatchNormMode>("model.bn_mode", name,
                               {{"train", BatchNormMode::train},
                                {"eval-stats", BatchNormMode::eval_stats},
                                {"frozen", BatchNormMode::frozen}});
}

}  // namespace

Recomputation recomputation_of(const std::string& name) {
  return chosen<Recomputation>("model.recompute", name,
                               {{"none", Recomputation::none},
                                {"relu", Recomputation::relu},
                                {"block", Recomputation::block}});
}

namespace {
std::unique_ptr<EmbeddingModel> build_layers(const ModelConfig& config) {
  auto model = std::make_unique<EmbeddingModel>(
      config.arch, [&](Module* parent) { return build_backbone(parent, config); },
      EmbeddingOptions{.dim = config.embed_dim,
                       .pooling = pooling_of(config.pool),
                       .norm = head_norm_of(config.head),
                       .init = head_init_of(config.head_init)});
  set_batch_norm_mode(*model, batch_norm_mode_of(config.bn_mode));
  set_recomputation(*model, recomputation_of(config.recompute));
  return model;
}
}  // namespace

std::unique_ptr<EmbeddingModel> build_model(const ModelConfig& config, std::uint64_t seed) {
  auto model = build_layers(config);
  initialize(*model, seed);
  return model;
}

std::unique_ptr<EmbeddingModel> build_shapes(const ModelConfig& config) {
  const LayersOn meta(Device::meta);
  return build_layers(config);
}

std::vector<std::string> start_blocks_as_identity(Module& model,
                                                  const std::vector<std::string>& fresh) {
  std::vector<std::string> started;
  for (const auto& [path, module] : model.modules()) {
    auto* block = dynamic_cast<ResidualBlock*>(module);
    if (!block) continue;
    const auto is_of_branch = [&, prefix = path](const std::string& parameter) {
      return is_below(parameter, prefix) && !is_below(parameter, prefix + ".downsample");
    };
    if (std::none_of(fresh.begin(), fresh.end(), is_of_branch)) continue;
    block->last_norm().weight.mutable_value().fill(0);
    started.push_back(path);
  }
  return started;
}

void freeze(Module& model, const std::vector<std::string>& modules) {
  for (const std::string& name : modules) {
    bool is_found = false;
    for (const auto& [path, parameter] : model.parameters()) {
      if (!is_below(path, name)) continue;
      parameter->set_trained(false);
      is_found = true;
    }
    check<UsageError>(is_found, "model.freeze: no module '", name,
                      "' in this model; names are those of its parameters, such as layer1");
  }
}

}  // namespace proxent
