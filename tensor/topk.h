// The k largest of each row, at once or while the columns arrive tile by tile.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

namespace kernel {
// Merges scores (rows, cols), whose first column has the number first_column, into the k best of
// each row so far.
KERNEL(top_k_update, const Tensor& scores, std::int64_t first_column, Tensor& values,
       Tensor& indices);
}  // namespace kernel

// Per row the k largest scores in descending order, equal ones by ascending column: values (rows,
// k), indices (rows, k) i32. -infinity and NaN never enter, so a score is masked by -infinity;
// where fewer than k scores entered, the rest has value -infinity and index -1.
struct TopK {
  Tensor values, indices;
};

// No scores yet.
TopK empty_top_k(std::int64_t rows, std::int64_t k, DType dtype, Device device = Device::cpu);
// Merges a tile of columns first_column .. first_column + cols - 1, each column once; any order of
// tiles gives the same result, ascending is fastest.
void top_k_update(TopK& best, const Tensor& scores, std::int64_t first_column);
// Of x (rows, cols) alone.
TopK top_k(const Tensor& x, std::int64_t k);

}  // namespace proxent
