#include "tensor/gather.h"

#include "autograd/ops.h"

namespace proxent {

Variable gather_rows(const Variable& x, const Tensor& index) {
  return record("gather_rows", gather_rows(x.value(), index),
                {{x, [index, from = x.shape()](const Tensor& dy) {
                    return gather_rows_backward(dy, index, from);
                  }}});
}

Variable pick(const Variable& x, const Tensor& index) {
  return record(
      "pick", pick(x.value(), index),
      {{x, [index, cols = x.dim(1)](const Tensor& dy) { return pick_backward(dy, index, cols); }}});
}

}  // namespace proxent
