// Layer normalisation of feature vectors.
#pragma once

#include "autograd/module.h"

namespace proxent {

// (N, F) to (N, F): each row to mean 0 and variance 1, as torch.nn.LayerNorm(F,
// elementwise_affine=False), the form that embedding heads use.
class LayerNorm : public Module {
 public:
  using Module::Module;

 protected:
  Variable forward(const Variable& x) override { return layer_norm(x, {}, {}); }
};

}  // namespace proxent
