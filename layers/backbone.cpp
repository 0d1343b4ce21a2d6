#include "layers/backbone.h"

#include "layers/batch_norm.h"

namespace proxent {

void set_recomputation(Module& root, Recomputation what) {
  for (const auto& [path, module] : root.modules()) {
    if (auto* norm = dynamic_cast<BatchNorm2d*>(module))
      norm->remake_output(what == Recomputation::relu);
    if (auto* block = dynamic_cast<Block*>(module))
      block->recompute_in_backward(what == Recomputation::block);
  }
}

}  // namespace proxent
