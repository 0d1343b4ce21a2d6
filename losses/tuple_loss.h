// Losses over pairs and triplets of a batch, and of what is remembered of earlier ones.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "losses/embedding_memory.h"
#include "losses/metric_loss.h"

namespace proxent {

// A loss over tuples, among the batch or, with a memory, among more.
class TupleLoss : public MetricLoss {
 public:
  using Function = std::function<Variable(const Comparison& pairs)>;
  // No memory for a memory.size of 0.
  TupleLoss(Module* parent, std::string name, Function function, const MemoryOptions& memory = {});

  // While training it also remembers the batch, after it was used.
  Variable operator()(const Variable& embeddings, const Tensor& labels) override;
  bool is_recordable() const override { return true; }

 private:
  Function function_;
  std::optional<EmbeddingMemory> memory_;
};

}  // namespace proxent
