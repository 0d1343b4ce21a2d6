// float32 matrix products on oneDNN.
#pragma once

#include "tensor/tensor.h"

namespace proxent::onednn {

// As kernel::matmul.
void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, Tensor& y);

}  // namespace proxent::onednn
