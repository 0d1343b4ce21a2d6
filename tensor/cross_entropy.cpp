#include "tensor/cross_entropy.h"

#include "tensor/gather.h"

namespace proxent {

CrossEntropy cross_entropy(const Tensor& logits, const Tensor& labels,
                           CrossEntropyOptions options) {
  check(logits.shape().rank() == 2, "cross_entropy: logits must be (rows, classes), got ",
        logits.shape());
  check_index("cross_entropy", labels, logits.device(),
              {.size = logits.dim(0),
               .limit = logits.dim(1),
               .what = "label",
               .exception = options.ignore_index});
  const auto scalar = [&] { return Tensor({}, logits.dtype(), logits.device()); };
  CrossEntropy out{scalar(), Tensor({logits.dim(0)}, logits.dtype(), logits.device()), scalar()};
  launch("cross_entropy", logits.device(), [&](auto device) {
    kernel::cross_entropy(device, logits, labels, options.ignore_index, out.log_sum, out.loss,
                          out.count);
  });
  return out;
}

Tensor cross_entropy_backward(const Tensor& dy, const Tensor& logits, const Tensor& labels,
                              const CrossEntropy& forward, CrossEntropyOptions options) {
  check_same("cross_entropy_backward", dy, forward.loss);
  Tensor dlogits(logits.shape(), logits.dtype(), logits.device());
  launch("cross_entropy_backward", logits.device(), [&](auto device) {
    kernel::cross_entropy_backward(device, dy, logits, labels, options.ignore_index,
                                   forward.log_sum, forward.count, dlogits);
  });
  return dlogits;
}

}  // namespace proxent
