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
  check_proxy_inputs("proxy_anchor", embeddings, proxies, labels);
  const std::int64_t B = embeddings.dim(0), C = proxies.dim(0);
  // Proxies are the rows here: s (C, B), and own (C, B) with 1 where picture b is of class c.
  const Variable w = normalize_rows(reshape(proxies, {C, proxies.dim(2)}));
  const Variable s = matmul(w, normalize_rows(embeddings), {.transpose_b = true});
  const Tensor eye = identity(B, s.dtype(), s.value().device());
  const Tensor own = gather_rows_backward(eye, labels, {C, B});
  const Tensor others = inverted(own);

  const Tensor present = sum_to(has_any(own), {});
  const Variable pull = log_one_plus_sum_exp(-options.alpha * (s - options.delta), own);
  const Variable push = log_one_plus_sum_exp(options.alpha * (s + options.delta), others);
  return sum(pull) / Variable(present) + mean(push);
}

}  // namespace proxent
