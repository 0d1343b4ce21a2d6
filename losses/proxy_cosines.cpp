#include "losses/proxy_cosines.h"

#include "tensor/gather.h"

namespace proxent {

void check_proxy_inputs(std::string_view loss, const Variable& embeddings, const Variable& proxies,
                        const Tensor& labels) {
  check(embeddings.shape().rank() == 2 && proxies.shape().rank() == 3 &&
            embeddings.dim(1) == proxies.dim(2) && embeddings.dtype() == proxies.dtype(),
        loss,
        ": embeddings must be (rows, dim) and proxies (classes, proxies per class, dim) of one "
        "dtype, got ",
        embeddings.value(), " and ", proxies.value());
  const std::int64_t B = embeddings.dim(0);
  check(B >= 1, loss, ": a batch without rows has no mean");
  check_index(loss, labels, embeddings.value().device(),
              {.size = B, .limit = proxies.dim(0), .what = "label"});
}

Variable proxy_cosines(std::string_view loss, const Variable& embeddings, const Variable& proxies,
                       const Tensor& labels) {
  check_proxy_inputs(loss, embeddings, proxies, labels);
  const std::int64_t B = embeddings.dim(0), C = proxies.dim(0), K = proxies.dim(1);
  const Variable w = normalize_rows(reshape(proxies, {C * K, proxies.dim(2)}));
  return reshape(matmul(normalize_rows(embeddings), w, {.transpose_b = true}), {B, C, K});
}

}  // namespace proxent
