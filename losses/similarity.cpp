#include "losses/similarity.h"

#include "tensor/gather.h"

namespace proxent {

Tensor identity(std::int64_t n, DType dtype, Device device) {
  return one_hot(arange(n, device), n, dtype);
}

Tensor one_hot(const Tensor& labels, std::int64_t classes, DType dtype) {
  return pick_backward(Tensor::full({labels.numel()}, dtype, 1, labels.device()), labels, classes);
}

Variable proxy_cosines(std::string_view loss, const Variable& embeddings, const Variable& proxies,
                       const Tensor& labels) {
  check(embeddings.shape().rank() == 2 && proxies.shape().rank() == 3 &&
            embeddings.dim(1) == proxies.dim(2) && embeddings.dtype() == proxies.dtype(),
        loss,
        ": embeddings must be (rows, dim) and proxies (classes, proxies per class, dim) of one "
        "dtype, got ",
        embeddings.value(), " and ", proxies.value());
  const std::int64_t B = embeddings.dim(0), C = proxies.dim(0), K = proxies.dim(1);
  check(B >= 1, loss, ": a batch without rows has no mean");
  check_index(loss, labels, embeddings.value().device(), {.size = B, .limit = C, .what = "label"});
  const Variable w = normalize_rows(reshape(proxies, {C * K, proxies.dim(2)}));
  return reshape(matmul(normalize_rows(embeddings), w, {.transpose_b = true}), {B, C, K});
}

Variable log_one_plus_sum_exp(const Variable& x, const Tensor& mask) {
  const Tensor hidden = scale(shift(mask, -1), kMasked);  // 0, or as good as -infinity
  const Variable zero = Tensor::zeros({x.dim(0), 1}, x.dtype(), x.value().device());
  return log_sum_exp(concatenate({zero, x * Variable(mask) + Variable(hidden)}, 1));
}

}  // namespace proxent
