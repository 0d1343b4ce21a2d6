// Softmax and its logarithm over the last axis. The row's maximum is taken out before exp, so
// nothing overflows; -infinity is a masked entry.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

namespace kernel {
// y_i = exp(x_i) / sum_j exp(x_j) along each row of x (rows, cols).
KERNEL(softmax, const Tensor& x, Tensor& y);
// dx = y (dy - y . dy).
KERNEL(softmax_backward, const Tensor& dy, const Tensor& y, Tensor& dx);
// y_i = x_i - log sum_j exp(x_j) along each row of x (rows, cols).
KERNEL(log_softmax, const Tensor& x, Tensor& y);
// dx = dy - exp(y) sum(dy).
KERNEL(log_softmax_backward, const Tensor& dy, const Tensor& y, Tensor& dx);
// y (rows) = log sum_j exp(x_j) along each row of x (rows, cols).
KERNEL(log_sum_exp, const Tensor& x, Tensor& y);
// dx_i = dy exp(x_i - y), and 0 where x_i is -infinity even if y is.
KERNEL(log_sum_exp_backward, const Tensor& dy, const Tensor& x, const Tensor& y, Tensor& dx);
}  // namespace kernel

// As torch.softmax, torch.log_softmax with dim=-1; x has one axis or more.
Tensor softmax(const Tensor& x);
Tensor softmax_backward(const Tensor& dy, const Tensor& y);
Tensor log_softmax(const Tensor& x);
Tensor log_softmax_backward(const Tensor& dy, const Tensor& y);
// As torch.logsumexp with dim=-1: drops the axis; -infinity for a row of -infinity and for an empty
// one.
Tensor log_sum_exp(const Tensor& x);
Tensor log_sum_exp_backward(const Tensor& dy, const Tensor& x, const Tensor& y);

}  // namespace proxent
