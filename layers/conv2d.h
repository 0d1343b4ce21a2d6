// 2-D convolution without bias: in the networks here a batch norm follows.
#pragma once

#include "autograd/module.h"

namespace proxent {

// (N, H, W, in) to (N, H', W', out), as torch.nn.Conv2d(bias=False); `size` is the height and width
// of the kernel. Multiplies in the dtype of x, to which it rounds its weight.
class Conv2d : public Module {
 public:
  Conv2d(Module* parent, std::string name, std::int64_t in, std::int64_t out, std::int64_t size,
         Conv2dOptions options = {});

  Parameter weight;  // KRSC: (out, size, size, in)

  const Conv2dOptions& options() const { return options_; }
  void initialize(Philox random) override;

 protected:
  Variable forward(const Variable& x) override {
    return conv2d(x, cast(weight, x.dtype()), options_);
  }

 private:
  Conv2dOptions options_;
};

}  // namespace proxent
