#include "layers/census.h"

#include <map>
#include <set>

namespace proxent {
namespace {

// A batch norm follows each convolution, in the call as in the declaration. Networks fuse it with
// the ReLU behind it, and the one that ends a branch with the sum as well; a shortcut's stands
// alone.
std::vector<BatchNormCall> norms_behind(Module& net, const std::map<const Module*, Shape>& results,
                                        std::int64_t batch) {
  std::set<const Module*> ends;
  for (const auto& [path, module] : net.modules())
    if (auto* block = dynamic_cast<ResidualBlock*>(module)) ends.insert(&block->last_norm());
  std::vector<BatchNormCall> norms;
  Shape x;
  for (const auto& [path, module] : net.modules()) {
    if (const auto result = results.find(module); result != results.end()) x = result->second;
    if (!dynamic_cast<BatchNorm2d*>(module)) continue;
    const bool is_shortcut = path.find("downsample") != std::string::npos;
    norms.push_back({x.with(0, batch), !is_shortcut, ends.contains(module)});
  }
  return norms;
}

}  // namespace

Census census_of(const ResNetOptions& options, std::int64_t size, std::int64_t batch) {
  ResNet net(nullptr, "resnet", options);
  return census_of(net, size, batch);
}

Census census_of(Backbone& net, std::int64_t size, std::int64_t batch) {
  net.set_training(false);
  Census census;
  std::map<const Module*, Shape> results;  // of convolutions
  const ModuleObserver observer([&](const Module& module, const Variable& x, const Variable& y) {
    const auto* conv = dynamic_cast<const Conv2d*>(&module);
    if (!conv) return;
    census.convolutions.push_back({x.shape().with(0, batch), conv->weight.shape(), conv->options(),
                                   !census.convolutions.empty()});
    results[&module] = y.shape();
  });
  net(Variable(Tensor::zeros({1, size, size, 3}, DType::f32)));
  census.batch_norms = norms_behind(net, results, batch);
  return census;
}

}  // namespace proxent
