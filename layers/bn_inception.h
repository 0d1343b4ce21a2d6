// BN-Inception (Ioffe and Szegedy 2015, "Batch Normalization", figure 5 of the arXiv version), the
// field's other standard backbone, under the names of the PyTorch port that its ImageNet weights
// come with (pretrainedmodels' bninception): inception_3a_1x1, inception_3a_1x1_bn, ...
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "layers/backbone.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"

namespace proxent {

// relu(norm(conv(x) + bias)): parameters NAME.weight, NAME.bias, NAME_bn.weight, ... of `parent`.
// No module of its own, so that the names stay flat.
class NormedConv {
 public:
  NormedConv(Module* parent, const std::string& name, std::int64_t in, std::int64_t out,
             std::int64_t size, std::int64_t stride = 1);
  Variable operator()(const Variable& x);

 private:
  Conv2d conv_;
  BatchNorm2d norm_;
};

// Channels of a block's branches; 0 where it has none.
struct InceptionPlan {
  std::string_view name;
  std::int64_t in, one, reduce, three, double_reduce, double_three, projection;
  bool pools_max = false;  // where a projection follows; else it always does

  constexpr bool strides() const { return one == 0; }  // halves the size, with a bare max-pool
  constexpr std::int64_t features() const {
    return one + three + double_three + (strides() ? in : projection);
  }
};

// Branches beside each other, their channels concatenated: 1x1; 1x1 then 3x3; 1x1 then two 3x3; 3x3
// pool then 1x1. It has no name, as those of its parameters carry the plan's.
class InceptionBlock : public Block {
 public:
  InceptionBlock(Module* parent, const InceptionPlan& plan);

 protected:
  Variable forward(const Variable& x) override;

 private:
  bool strides_, pools_max_;
  std::optional<NormedConv> one_;
  NormedConv reduce_, three_, double_reduce_, double_first_, double_second_;
  std::optional<NormedConv> projection_;
};

// 1024 features at 1/32 of the image's size. Throws UsageError for images whose maps cannot be
// halved where the blocks do: sides of multiples of 32 can, and 227. The batch norms follow the
// batch by a tenth (PyTorch's momentum 0.1; the port's 0.9 is Caffe's share of the old, read the
// other way round).
class BnInception : public Backbone {
 public:
  BnInception(Module* parent, std::string name);

  std::int64_t features() const override { return 1024; }

 protected:
  Variable forward(const Variable& x) override;

 private:
  NormedConv conv1_, conv2_reduce_, conv2_;
  std::array<InceptionBlock, 10> blocks_;
};

}  // namespace proxent
