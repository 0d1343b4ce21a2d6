// ResNet-12, the backbone of few-shot learning (as in MetaOptNet, Lee et al. 2019): four residual
// blocks of three 3x3 convolutions with leaky ReLU 0.1, each followed by a 2x2 max-pool; made for
// 84 px images.
#pragma once

#include "layers/resnet.h"

namespace proxent {

// leaky_relu(conv-bn x3 + shortcut), pooled; in to `width` channels at half the size.
class FewShotBlock : public ResidualBlock {
 public:
  FewShotBlock(Module* parent, std::string name, std::int64_t in, std::int64_t width);

  Conv2d conv1;
  BatchNorm2d bn1;
  Conv2d conv2;
  BatchNorm2d bn2;
  Conv2d conv3;
  BatchNorm2d bn3;
  Sequence downsample;  // 1x1 convolution and batch norm: every block changes its width

  BatchNorm2d& last_norm() override { return bn3; }

 protected:
  Variable forward(const Variable& x) override;
};

class ResNet12 : public Backbone {
 public:
  ResNet12(Module* parent, std::string name);

  FewShotBlock layer1, layer2, layer3, layer4;  // 64, 160, 320 and 640 channels

  std::int64_t features() const override { return 640; }

 protected:
  Variable forward(const Variable& x) override { return layer4(layer3(layer2(layer1(x)))); }
};

}  // namespace proxent
