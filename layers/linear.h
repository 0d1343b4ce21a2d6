// y = x W^T + b, as torch.nn.Linear.
#pragma once

#include <optional>

#include "autograd/module.h"

namespace proxent {

enum class LinearInit {
  uniform,  // as torch.nn.Linear: weight and bias in +-1/sqrt(in)
  kaiming   // kaiming_normal_(mode="fan_out") and a bias of 0, as Proxy-Anchor's code
};

struct LinearOptions {
  bool has_bias = true;
  LinearInit init = LinearInit::uniform;
};

// (N, in) to (N, out), in the dtype of x, to which it rounds its weights.
class Linear : public Module {
 public:
  Linear(Module* parent, std::string name, std::int64_t in, std::int64_t out,
         LinearOptions options = {});

  Parameter weight;               // (out, in)
  std::optional<Parameter> bias;  // (out)

  void initialize(Philox random) override;

 protected:
  Variable forward(const Variable& x) override;

 private:
  LinearInit init_;
};

}  // namespace proxent
