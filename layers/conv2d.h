// 2-D convolution; by default without bias, because in the networks here a batch norm follows.
#pragma once

#include <optional>

#include "autograd/module.h"

namespace proxent {

struct Conv2dTerms {
  bool has_bias = false;
};

// (N, H, W, in) to (N, H', W', out), as torch.nn.Conv2d; `size` is the height and width of the
// kernel. Multiplies in the dtype of x, to which it rounds its weight and bias.
class Conv2d : public Module {
 public:
  Conv2d(Module* parent, std::string name, std::int64_t in, std::int64_t out, std::int64_t size,
         Conv2dOptions options = {}, Conv2dTerms terms = {});

  Parameter weight;               // KRSC: (out, size, size, in)
  std::optional<Parameter> bias;  // (out), starts as zeros

  const Conv2dOptions& options() const { return options_; }
  void initialize(Philox random) override;

 protected:
  Variable forward(const Variable& x) override;

 private:
  Conv2dOptions options_;
};

}  // namespace proxent
