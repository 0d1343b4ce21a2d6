#include "tensor/cross_entropy.h"

#include "autograd/ops.h"

namespace proxent {

Variable cross_entropy(const Variable& logits, const Tensor& labels, CrossEntropyOptions options) {
  CrossEntropy forward = cross_entropy(logits.value(), labels, options);
  return record("cross_entropy", forward.loss,
                {{logits, [x = logits.value(), labels, forward, options](const Tensor& dy) {
                    return cross_entropy_backward(dy, x, labels, forward, options);
                  }}});
}

}  // namespace proxent
