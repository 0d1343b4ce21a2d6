// ResNet-18/34/50/101/152 (He et al. 2016) under torchvision's names; "v1.5": a bottleneck strides
// in its 3x3.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "layers/backbone.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/sequence.h"
#include "tensor/pooling.h"

namespace proxent {

enum class Stem {
  imagenet,  // 7x7 convolution of stride 2, then 3x3 max-pool of stride 2: for 224 px
  small,     // 3x3 convolution of stride 1, no pool: for 32 px, as the CIFAR literature
  compact,   // 3x3 convolution of stride 2, no pool: for 32 to 64 px at a quarter of the work
};

// A residual block: relu(branch(x) + shortcut(x)), the branch ending in a batch norm.
class ResidualBlock : public Block {
 public:
  using Block::Block;
  // The batch norm that ends the branch. With its gamma 0 the block starts as its shortcut.
  virtual BatchNorm2d& last_norm() = 0;
};

// Two 3x3 convolutions; the first one strides.
class BasicBlock : public ResidualBlock {
 public:
  static constexpr std::int64_t kExpansion = 1;
  BasicBlock(Module* parent, std::string name, std::int64_t in, std::int64_t width,
             std::int64_t stride);

  Conv2d conv1;
  BatchNorm2d bn1;
  Conv2d conv2;
  BatchNorm2d bn2;
  Sequence downsample;  // empty where the shortcut is the identity

  BatchNorm2d& last_norm() override { return bn2; }

 protected:
  Variable forward(const Variable& x) override;
};

// 1x1 down to `width`, 3x3, 1x1 up to 4 width; the 3x3 strides.
class Bottleneck : public ResidualBlock {
 public:
  static constexpr std::int64_t kExpansion = 4;
  Bottleneck(Module* parent, std::string name, std::int64_t in, std::int64_t width,
             std::int64_t stride);

  Conv2d conv1;
  BatchNorm2d bn1;
  Conv2d conv2;
  BatchNorm2d bn2;
  Conv2d conv3;
  BatchNorm2d bn3;
  Sequence downsample;

  BatchNorm2d& last_norm() override { return bn3; }

 protected:
  Variable forward(const Variable& x) override;
};

// The networks here by depth: "resnet18" to "resnet152".
std::vector<std::string> resnet_names();
// 50 for "resnet50"; none for a name that is not one of them.
std::optional<int> resnet_depth(std::string_view name);

struct ResNetOptions {
  int depth = 50;  // 18, 34, 50, 101 or 152
  Stem stem = Stem::imagenet;
  std::int64_t width = 64;  // channels of the stem and of layer1's 3x3s; each layer doubles it
};

class ResNet : public Backbone {
 public:
  // Throws UsageError for another depth, and for a width below 1.
  ResNet(Module* parent, std::string name, ResNetOptions options);

  static constexpr Pool2dOptions kStemPool{
      .size = 3, .stride = 2, .padding = 1};  // of Stem::imagenet

  Conv2d conv1;
  BatchNorm2d bn1;
  Sequence layer1, layer2, layer3, layer4;

  std::int64_t features() const override { return features_; }

 protected:
  Variable forward(const Variable& x) override;

 private:
  Stem stem_;
  std::int64_t features_ = 0;
};

}  // namespace proxent
