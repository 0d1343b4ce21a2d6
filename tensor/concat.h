// Tensors side by side.
#pragma once

#include <vector>

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

namespace kernel {
// to[:, to_first + i] = from[:, from_first + i] for i in 0 .. count-1, both (rows, cols).
KERNEL(copy_columns, const Tensor& from, std::int64_t from_first, Tensor& to, std::int64_t to_first,
       std::int64_t count);
}  // namespace kernel

// parts one behind the other along `axis` (negative counts from the end), as torch.cat. They agree
// in dtype and in every other axis; there is one or more.
Tensor concatenate(const std::vector<Tensor>& parts, int axis);
// Entries first .. first+count along `axis`, copied: what undoes concatenate.
Tensor narrow(const Tensor& x, int axis, std::int64_t first, std::int64_t count);

}  // namespace proxent
