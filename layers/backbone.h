// What turns images into feature maps.
#pragma once

#include "autograd/module.h"

namespace proxent {

// (N, H, W, 3) to (N, H', W', features()).
class Backbone : public Module {
 public:
  using Module::Module;
  virtual std::int64_t features() const = 0;
};

}  // namespace proxent
