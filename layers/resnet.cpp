#include "layers/resnet.h"

#include <array>

namespace proxent {
namespace {

struct Plan {
  int depth;
  std::array<int, 4> blocks;
  bool is_bottleneck;
};
constexpr Plan kPlans[] = {{18, {2, 2, 2, 2}, false},
                           {34, {3, 4, 6, 3}, false},
                           {50, {3, 4, 6, 3}, true},
                           {101, {3, 4, 23, 3}, true},
                           {152, {3, 8, 36, 3}, true}};

std::string name_of(const Plan& plan) { return "resnet" + std::to_string(plan.depth); }

const Plan& plan_of(int depth) {
  std::string depths;
  for (const Plan& plan : kPlans) {
    if (plan.depth == depth) return plan;
    depths += (depths.empty() ? "" : ", ") + std::to_string(plan.depth);
  }
  fail<UsageError>("resnet: depth must be one of ", depths, ", got ", depth);
}

std::int64_t checked_width(std::int64_t width) {
  check<UsageError>(width >= 1, "resnet: width must be 1 or more, got ", width);
  return width;
}

// The shortcut of a block that changes the image's size or channels.
void add_downsample(Sequence& downsample, std::int64_t in, std::int64_t out, std::int64_t stride) {
  if (stride == 1 && in == out) return;
  downsample.append<Conv2d>(in, out, 1, Conv2dOptions{.stride = stride});
  downsample.append<BatchNorm2d>(out);
}

// One of the four layers; returns its number of output channels.
template <class Block>
std::int64_t add_blocks(Sequence& layer, int count, std::int64_t in, std::int64_t width,
                        std::int64_t stride) {
  for (int i = 0; i < count; ++i) {
    layer.append<Block>(in, width, i == 0 ? stride : 1);
    in = width * Block::kExpansion;
  }
  return in;
}

Conv2dOptions stem_options(Stem stem) {
  switch (stem) {
    case Stem::imagenet:
      return {.stride = 2, .padding = 3};
    case Stem::small:
      return {.stride = 1, .padding = 1};
    case Stem::compact:
      return {.stride = 2, .padding = 1};
  }
  fail("resnet: unknown stem");
}

}  // namespace

std::vector<std::string> resnet_names() {
  std::vector<std::string> names;
  for (const Plan& plan : kPlans) names.push_back(name_of(plan));
  return names;
}

std::optional<int> resnet_depth(std::string_view name) {
  for (const Plan& plan : kPlans)
    if (name == name_of(plan)) return plan.depth;
  return std::nullopt;
}

BasicBlock::BasicBlock(Module* parent, std::string name, std::int64_t in, std::int64_t width,
                       std::int64_t stride)
    : ResidualBlock(parent, std::move(name)),
      conv1(this, "conv1", in, width, 3, {.stride = stride, .padding = 1}),
      bn1(this, "bn1", width),
      conv2(this, "conv2", width, width, 3, {.padding = 1}),
      bn2(this, "bn2", width),
      downsample(this, "downsample") {
  add_downsample(downsample, in, width * kExpansion, stride);
}

Variable BasicBlock::forward(const Variable& x) {
  const Variable shortcut = downsample(x);
  return bn2.add_relu(conv2(bn1.with_relu(conv1(x))), shortcut);
}

Bottleneck::Bottleneck(Module* parent, std::string name, std::int64_t in, std::int64_t width,
                       std::int64_t stride)
    : ResidualBlock(parent, std::move(name)),
      conv1(this, "conv1", in, width, 1),
      bn1(this, "bn1", width),
      conv2(this, "conv2", width, width, 3, {.stride = stride, .padding = 1}),
      bn2(this, "bn2", width),
      conv3(this, "conv3", width, width * kExpansion, 1),
      bn3(this, "bn3", width * kExpansion),
      downsample(this, "downsample") {
  add_downsample(downsample, in, width * kExpansion, stride);
}

Variable Bottleneck::forward(const Variable& x) {
  const Variable shortcut = downsample(x);
  return bn3.add_relu(conv3(bn2.with_relu(conv2(bn1.with_relu(conv1(x))))), shortcut);
}

ResNet::ResNet(Module* parent, std::string name, ResNetOptions options)
    : Backbone(parent, std::move(name)),
      conv1(this, "conv1", 3, checked_width(options.width), options.stem == Stem::imagenet ? 7 : 3,
            stem_options(options.stem)),
      bn1(this, "bn1", options.width),
      layer1(this, "layer1"),
      layer2(this, "layer2"),
      layer3(this, "layer3"),
      layer4(this, "layer4"),
      stem_(options.stem) {
  const Plan& plan = plan_of(options.depth);
  std::int64_t channels = options.width, width = options.width, stride = 1;
  int i = 0;
  for (Sequence* layer : {&layer1, &layer2, &layer3, &layer4}) {
    channels = plan.is_bottleneck
                   ? add_blocks<Bottleneck>(*layer, plan.blocks[i], channels, width, stride)
                   : add_blocks<BasicBlock>(*layer, plan.blocks[i], channels, width, stride);
    width *= 2;
    stride = 2;
    ++i;
  }
  features_ = channels;
}

Variable ResNet::forward(const Variable& x) {
  Variable y = bn1.with_relu(conv1(x));
  if (stem_ == Stem::imagenet) y = max_pool2d(y, kStemPool);
  // Nested calls would hold every layer's result until the last layer is done.
  for (Sequence* layer : {&layer1, &layer2, &layer3, &layer4}) y = (*layer)(y);
  return y;
}

}  // namespace proxent
