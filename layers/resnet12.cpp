#include "layers/resnet12.h"

namespace proxent {
namespace {
constexpr double kLeak = 0.1;
}

FewShotBlock::FewShotBlock(Module* parent, std::string name, std::int64_t in, std::int64_t width)
    : ResidualBlock(parent, std::move(name)),
      conv1(this, "conv1", in, width, 3, {.padding = 1}),
      bn1(this, "bn1", width),
      conv2(this, "conv2", width, width, 3, {.padding = 1}),
      bn2(this, "bn2", width),
      conv3(this, "conv3", width, width, 3, {.padding = 1}),
      bn3(this, "bn3", width),
      downsample(this, "downsample") {
  downsample.append<Conv2d>(in, width, 1);
  downsample.append<BatchNorm2d>(width);
}

Variable FewShotBlock::forward(const Variable& x) {
  Variable y = leaky_relu(bn1(conv1(x)), kLeak);
  y = leaky_relu(bn2(conv2(y)), kLeak);
  y = leaky_relu(bn3(conv3(y)) + downsample(x), kLeak);
  return max_pool2d(y, {.size = 2, .stride = 2});
}

ResNet12::ResNet12(Module* parent, std::string name)
    : Backbone(parent, std::move(name)),
      layer1(this, "layer1", 3, 64),
      layer2(this, "layer2", 64, 160),
      layer3(this, "layer3", 160, 320),
      layer4(this, "layer4", 320, 640) {}

}  // namespace proxent
