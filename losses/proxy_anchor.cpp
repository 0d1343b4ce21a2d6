#include "losses/proxy_anchor.h"

#include "losses/masks.h"
#include "losses/proxy_cosines.h"
#include "tensor/gather.h"

namespace proxent {

Variable proxy_anchor(const Variable& embeddings, const Variable& proxies, const Tensor& labels,
                      const ProxyAnchorOptions& options) {
  check(proxies.shape().rank() == 3 && proxies.dim(1) == 1,
        "proxy_anchor: defined for one proxy per class, proxies (classes, 1, dim), got ",
        proxies.value());
  const std::int64_t B = embeddings.dim(0), C = proxies.dim(0);
  const Variable s_rows = proxy_cosines("proxy_anchor", embeddings, proxies, labels);
  // Proxies are the rows here: s (C, B), and own (C, B) with 1 where picture b is of class c.
  const DType dtype = s_rows.dtype();
  const Device device = s_rows.value().device();
  const Tensor eye = identity(B, dtype, device);
  const Variable s = matmul(reshape(s_rows, {B, C}), eye, {.transpose_a = true});
  const Tensor own = gather_rows_backward(eye, labels, {C, B});
  const Tensor others = inverted(own);

  const Tensor present = sum_to(has_any(own), {});
  const Variable pull = log_one_plus_sum_exp(-options.alpha * (s - options.delta), own);
  const Variable push = log_one_plus_sum_exp(options.alpha * (s + options.delta), others);
  return sum(pull) / Variable(present) + mean(push);
}

}  // namespace proxent
