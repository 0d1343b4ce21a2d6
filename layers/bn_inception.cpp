#include "layers/bn_inception.h"

#include <utility>

namespace proxent {
namespace {

//                                          in    1x1  reduce 3x3 | reduce 3x3 | projection
constexpr std::array<InceptionPlan, 10> kPlans = {
    {{"3a", 192, 64, 64, 64, 64, 96, 32},
     {"3b", 256, 64, 64, 96, 64, 96, 64},
     {"3c", 320, 0, 128, 160, 64, 96, 0},
     {"4a", 576, 224, 64, 96, 96, 128, 128},
     {"4b", 576, 192, 96, 128, 96, 128, 128},
     {"4c", 576, 160, 128, 160, 128, 160, 128},
     {"4d", 608, 96, 128, 192, 160, 192, 128},
     {"4e", 608, 0, 128, 192, 192, 256, 0},
     {"5a", 1056, 352, 192, 320, 160, 224, 128},
     {"5b", 1024, 352, 192, 320, 192, 224, 128, true}}};

constexpr bool plans_fit_together() {
  for (std::size_t i = 1; i < kPlans.size(); ++i)
    if (kPlans[i].in != kPlans[i - 1].features()) return false;
  return kPlans.back().features() == 1024;
}
static_assert(plans_fit_together());

constexpr Pool2dOptions kHalving{.size = 3, .stride = 2, .rounds_up = true};
constexpr Pool2dOptions kKeepingSize{.size = 3, .stride = 1, .padding = 1};

std::string part(const InceptionPlan& plan, std::string_view name) {
  return "inception_" + std::string(plan.name) + "_" + std::string(name);
}

template <std::size_t... kIndices>
std::array<InceptionBlock, kPlans.size()> all_blocks(Module* parent,
                                                     std::index_sequence<kIndices...>) {
  return {InceptionBlock(parent, kPlans[kIndices])...};
}

}  // namespace

NormedConv::NormedConv(Module* parent, const std::string& name, std::int64_t in, std::int64_t out,
                       std::int64_t size, std::int64_t stride)
    : conv_(parent, name, in, out, size, {.stride = stride, .padding = size / 2},
            {.has_bias = true}),
      norm_(parent, name + "_bn", out) {}

Variable NormedConv::operator()(const Variable& x) { return norm_.with_relu(conv_(x)); }

InceptionBlock::InceptionBlock(Module* parent, const InceptionPlan& plan)
    : Block(parent, ""),
      strides_(plan.strides()),
      pools_max_(plan.pools_max),
      reduce_(this, part(plan, "3x3_reduce"), plan.in, plan.reduce, 1),
      three_(this, part(plan, "3x3"), plan.reduce, plan.three, 3, strides_ ? 2 : 1),
      double_reduce_(this, part(plan, "double_3x3_reduce"), plan.in, plan.double_reduce, 1),
      double_first_(this, part(plan, "double_3x3_1"), plan.double_reduce, plan.double_three, 3),
      double_second_(this, part(plan, "double_3x3_2"), plan.double_three, plan.double_three, 3,
                     strides_ ? 2 : 1) {
  if (strides_) return;
  one_.emplace(this, part(plan, "1x1"), plan.in, plan.one, 1);
  projection_.emplace(this, part(plan, "pool_proj"), plan.in, plan.projection, 1);
}

Variable InceptionBlock::forward(const Variable& x) {
  const Variable three = three_(reduce_(x));
  const Variable twice = double_second_(double_first_(double_reduce_(x)));
  if (strides_) {
    // Of an odd side the convolutions keep the larger half and the pool the smaller one.
    check<UsageError>(x.dim(1) % 2 == 0 && x.dim(2) % 2 == 0, "bn-inception: a map of ", x.dim(1),
                      "x", x.dim(2),
                      " pixels cannot be halved; choose images whose sides are "
                      "multiples of 32, or 227");
    return concatenate({three, twice, max_pool2d(x, kHalving)}, -1);
  }
  const Variable pooled = pools_max_ ? max_pool2d(x, kKeepingSize) : avg_pool2d(x, kKeepingSize);
  return concatenate({(*one_)(x), three, twice, (*projection_)(pooled)}, -1);
}

BnInception::BnInception(Module* parent, std::string name)
    : Backbone(parent, std::move(name)),
      conv1_(this, "conv1_7x7_s2", 3, 64, 7, 2),
      conv2_reduce_(this, "conv2_3x3_reduce", 64, 64, 1),
      conv2_(this, "conv2_3x3", 64, 192, 3),
      blocks_(all_blocks(this, std::make_index_sequence<kPlans.size()>())) {}

Variable BnInception::forward(const Variable& x) {
  Variable y = max_pool2d(conv1_(x), kHalving);
  y = max_pool2d(conv2_(conv2_reduce_(y)), kHalving);
  for (InceptionBlock& block : blocks_) y = block(y);
  return y;
}

}  // namespace proxent
