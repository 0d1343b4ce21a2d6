// Picking rows and elements by number. An index is an i32 tensor; one out of range is an error that
// names it, on the GPU where every op waits (set_gpu_synchronous): looking means to wait.
#pragma once

#include <optional>

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

namespace kernel {
// y[n] = n / repeats, rounded down.
KERNEL(arange, std::int64_t repeats, Tensor& y);
// y[n] = x[index[n]] for rows of x (rows, cols).
KERNEL(gather_rows, const Tensor& x, const Tensor& index, Tensor& y);
// dx[r] = sum of dy[n] over index[n] = r, in order of n.
KERNEL(gather_rows_backward, const Tensor& dy, const Tensor& index, Tensor& dx);
// y[n] = x[n, index[n]] for x (rows, cols).
KERNEL(pick, const Tensor& x, const Tensor& index, Tensor& y);
// dx[n, c] = dy[n] where c = index[n], 0 elsewhere.
KERNEL(pick_backward, const Tensor& dy, const Tensor& index, Tensor& dx);
}  // namespace kernel

// What the values of an index must be: 0 .. limit-1, one for each of `size` rows.
struct IndexRules {
  std::int64_t size, limit;
  std::string_view what = "index";             // what a value is called in the message: "label"
  std::optional<std::int64_t> exception = {};  // a value outside the range that is allowed too
};
// Throws unless index is i32 (size) on `device` and keeps the rules; the message names the first
// value that does not, its row and the range. Values are read on the CPU, and on the GPU under
// set_gpu_synchronous(true).
void check_index(std::string_view op, const Tensor& index, Device device, const IndexRules& rules);

// 0, 1, ... as an index (n), each `repeats` times, made where it is used: torch.arange, and
// repeat_interleave of it.
Tensor arange(std::int64_t n, Device device, std::int64_t repeats = 1);
// x (R, ...) and index (N) -> (N, ...), as torch.index_select along axis 0.
Tensor gather_rows(const Tensor& x, const Tensor& index);
// The gradient at x's shape; equal rows are added in order, so the sum is the same in every run.
Tensor gather_rows_backward(const Tensor& dy, const Tensor& index, const Shape& x_shape);
// x (B, C) and index (B) -> (B), as torch.gather along axis 1 with one index a row.
Tensor pick(const Tensor& x, const Tensor& index);
Tensor pick_backward(const Tensor& dy, const Tensor& index, std::int64_t cols);

}  // namespace proxent
