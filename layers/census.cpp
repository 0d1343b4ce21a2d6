#include "layers/census.h"

namespace proxent {
namespace {

// Brings back which modules of a tree train.
class TrainingKeeper {
 public:
  explicit TrainingKeeper(Module& root) {
    for (const auto& [path, module] : root.modules())
      before_.emplace_back(module, module->is_training());
  }
  ~TrainingKeeper() {  // outer modules first, as each sets those inside it, too
    for (const auto& [module, is_training] : before_) module->set_training(is_training);
  }
  TrainingKeeper(const TrainingKeeper&) = delete;
  TrainingKeeper& operator=(const TrainingKeeper&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> before_;
};

}  // namespace

Census census_of(const ResNetOptions& options, std::int64_t size, std::int64_t batch) {
  ResNet net(nullptr, "resnet", options);
  return census_of(net, size, batch);
}

Census census_of(Backbone& net, std::int64_t size, std::int64_t batch) {
  const TrainingKeeper keeper(net);
  net.set_training(false);
  const Tensor images = Tensor::zeros({1, size, size, 3}, DType::f32);
  Census census;
  const ModuleObserver observer([&](const ModuleCall& call) {
    const Shape x = call.x.shape().with(0, batch);
    if (const auto* conv = dynamic_cast<const Conv2d*>(&call.module))
      census.convolutions.push_back(
          {x, conv->weight.shape(), conv->options(), call.x.value().storage() != images.storage()});
    else if (dynamic_cast<const BatchNorm2d*>(&call.module))
      census.batch_norms.push_back({x, call.has_relu, call.has_residual});
  });
  net(Variable(images));
  return census;
}

}  // namespace proxent
