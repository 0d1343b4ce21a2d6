#include "tensor/normalize.h"

#include "autograd/ops.h"

namespace proxent {

Variable normalize_rows(const Variable& x) {
  Normalized forward = normalize_rows(x.value());
  return record(
      "normalize_rows", forward.y,
      {{x, [forward](const Tensor& dy) { return normalize_rows_backward(dy, forward); }}});
}

}  // namespace proxent
