#include "tensor/matmul.h"

#include "autograd/ops.h"

namespace proxent {

// With A = op(a) and B = op(b): dA = dy B^T, dB = A^T dy; where op transposes, so is the gradient.
Variable matmul(const Variable& a, const Variable& b, MatmulOptions options) {
  const auto [ta, tb] = options;
  return record("matmul", matmul(a.value(), ta, b.value(), tb),
                {{a,
                  [ta = ta, tb = tb, b = b.value()](const Tensor& dy) {
                    return ta ? matmul(b, tb, dy, true) : matmul(dy, false, b, !tb);
                  }},
                 {b, [ta = ta, tb = tb, a = a.value()](const Tensor& dy) {
                    return tb ? matmul(dy, true, a, ta) : matmul(a, !ta, dy, false);
                  }}});
}

}  // namespace proxent
