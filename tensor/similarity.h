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
}  // namespace kernel

// The similarities of all rows of queries (Q, D) to all rows of gallery (G, D), as (Q, G).
Tensor similarities(const Tensor& queries, const Tensor& gallery, Similarity similarity);
// The same into y, for callers that go through tiles.
void similarities(const Tensor& queries, const Tensor& gallery, Similarity similarity, Tensor& y);

}  // namespace proxent
