#include "losses/tuple_loss.h"

namespace proxent {

TupleLoss::TupleLoss(Module* parent, std::string name, Function function,
                     const MemoryOptions& memory)
    : MetricLoss(parent, std::move(name)), function_(std::move(function)) {
  if (memory.size > 0) memory_.emplace(this, "memory", memory);
}

Variable TupleLoss::operator()(const Variable& embeddings, const Tensor& labels) {
  Scope scope(name());
  Variable loss =
      function_(memory_ ? memory_->compare(embeddings, labels) : compare(embeddings, labels));
  if (memory_ && is_training()) memory_->push(embeddings.value(), labels);
  return loss;
}

}  // namespace proxent
