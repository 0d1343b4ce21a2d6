// float32 convolution on oneDNN.
#pragma once

#include "tensor/conv.h"

namespace proxent::onednn {

// As the kernels of the same names. They do nothing and return false where oneDNN has only its own
// reference code for these sizes, which takes seconds.
bool conv2d(const Tensor& x, const Tensor& w, const Conv2dOptions& options, Tensor& y);
bool conv2d_dx(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx);
bool conv2d_dw(const Tensor& dy, const Tensor& x, const Conv2dOptions& options, Tensor& dw);

}  // namespace proxent::onednn
