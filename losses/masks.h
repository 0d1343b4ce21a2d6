// Masks of ones and zeros, which choose what counts in a sum, a maximum or a softmax where an index
// would have to come back from the device.
#pragma once

#include "autograd/ops.h"

namespace proxent {

// Stands in for infinity where an infinite mask would make 0 * infinity.
inline constexpr double kMaskDepth = 1e30;

// (n, n) with ones on the diagonal.
Tensor identity(std::int64_t n, DType dtype, Device device);

// (B, C): `value` at each row's label, 0 elsewhere. Throws Error, on the CPU, for a label outside
// 0 .. C-1.
Tensor one_hot(const Tensor& labels, std::int64_t classes, DType dtype, double value = 1);

// 1 - mask.
Tensor inverted(const Tensor& mask);
// 1 for each row with a 1 in it; rows are along the last axis, which goes away.
Tensor has_any(const Tensor& mask);

// What hides an entry when it is added: 0 where the mask is 1, -kMaskDepth where it is 0.
Tensor hidden(const Tensor& mask);
// x where the mask is 1, -kMaskDepth where it is 0.
Variable masked(const Variable& x, const Tensor& mask);

// log(1 + sum_j m_j exp(x_j)) along the last axis, which goes away; mask m.
Variable log_one_plus_sum_exp(const Variable& x, const Tensor& mask);

}  // namespace proxent
