#include "tensor/concat.h"

#include "autograd/ops.h"

namespace proxent {

Variable concatenate(const std::vector<Variable>& parts, int axis) {
  std::vector<Tensor> values;
  for (const Variable& part : parts) values.push_back(part.value());
  std::vector<Edge> edges;
  std::int64_t first = 0;
  Tensor y = concatenate(values, axis);
  for (const Variable& part : parts) {
    edges.push_back({part, [axis, first, count = part.dim(axis)](const Tensor& dy) {
                       return narrow(dy, axis, first, count);  // each part's own piece
                     }});
    first += part.dim(axis);
  }
  return record("concatenate", y, edges);
}

Variable slice_rows(const Variable& x, std::int64_t first, std::int64_t count) {
  return record("slice_rows", x.value().slice(first, count),
                {{x, [first, count, from = x.shape()](const Tensor& dy) {
                    Tensor dx = Tensor::zeros(from, dy.dtype(), dy.device());
                    dx.slice(first, count).copy_from(dy);
                    return dx;
                  }}});
}

}  // namespace proxent
