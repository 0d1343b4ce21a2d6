// What turns images into feature maps, block by block.
#pragma once

#include "autograd/module.h"

namespace proxent {

// (N, H, W, 3) to (N, H', W', features()).
class Backbone : public Module {
 public:
  using Module::Module;
  virtual std::int64_t features() const = 0;
};

// A part of a backbone from one map to the next, behind its stem.
class Block : public Module {
 public:
  using Module::Module;
};

// What backward computes again instead of keeping it: the same bits, later.
enum class Recomputation {
  none,
  relu,   // ReLUs that follow a batch norm: one or two passes over memory for each
  block,  // all that is inside a block: a forward pass
};
// Sets it for every batch norm and block below root.
void set_recomputation(Module& root, Recomputation what);

}  // namespace proxent
