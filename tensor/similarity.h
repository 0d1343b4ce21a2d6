// How alike the rows of two matrices are, to the same bits wherever a pair of rows stands.
// Retrieval ranks by these numbers: equal pictures must tie exactly, and a rank must not depend on
// tiles.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

enum class Similarity : std::uint8_t {
  dot,       // a . b; the cosine when both are unit vectors
  euclidean  // -|a - b|^2: the larger, the nearer
};

namespace kernel {
// y (Q, G): y[i][j] = similarity of row i of queries (Q, D) and row j of gallery (G, D), summed
// from the first feature to the last in one accumulator. A library's product does not promise this:
// oneDNN and BLAS choose an order by the sizes of the matrices, so that a tile of another height
// changes the last bit.
KERNEL(similarities, const Tensor& queries, const Tensor& gallery, Similarity similarity,
       Tensor& y);
// y[n] = x[index[n]] / |x[index[n]]| for rows of x (R, D) f32; a row of zeros stays. The squares
// are added in double in an order that D alone decides: kUnitLanes sums of every kUnitLanes-th
// feature, then those a half apart, a quarter apart, ...
KERNEL(unit_rows, const Tensor& x, const Tensor& index, Tensor& y);
inline constexpr int kUnitLanes = 32;
}  // namespace kernel

// The similarities of all rows of queries (Q, D) to all rows of gallery (G, D), as (Q, G).
Tensor similarities(const Tensor& queries, const Tensor& gallery, Similarity similarity);
// The same into y, for callers that go through tiles.
void similarities(const Tensor& queries, const Tensor& gallery, Similarity similarity, Tensor& y);

// Rows of x (R, D) f32 by number, index (N) i32, of length one: dots of them are cosines. To the
// same bits on every device, and however short a row is; a row of zeros stays.
Tensor unit_rows(const Tensor& x, const Tensor& index);
// All rows of x in their order.
Tensor unit_rows(const Tensor& x);

}  // namespace proxent
