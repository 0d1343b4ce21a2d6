// Kernels that move elements without arithmetic: fill, convert, copy.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent::kernel {

// Every element of x becomes value.
KERNEL(fill, double value, Tensor& x);
// y[i] = x[i] in y's dtype.
KERNEL(convert, const Tensor& x, Tensor& y);
// y[i] = x[i], same dtype.
KERNEL(copy, const Tensor& x, Tensor& y);

}  // namespace proxent::kernel
