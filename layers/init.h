// Initial values of a module tree, as torchvision's: each module draws from a stream of its own
// path, so the numbers do not depend on the order of construction.
#pragma once

#include "autograd/module.h"
#include "tensor/random.h"

namespace proxent {

// Calls initialize() of every module below `root`.
void initialize(Module& root, std::uint64_t seed);

// Normal with standard deviation sqrt(2 / fan_out), for layers that a ReLU follows
// (torch.nn.init.kaiming_normal_(mode="fan_out", nonlinearity="relu")). Weights are KRSC, or
// (out, in).
void kaiming_normal_fan_out(Tensor& weight, Philox random);
// Uniform in +-1/sqrt(fan_in): torch.nn.Linear's default for weight and bias.
void uniform_fan_in(Tensor& x, std::int64_t fan_in, Philox random);

}  // namespace proxent
