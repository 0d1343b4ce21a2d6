#include "tensor/topk.h"

#include <limits>

namespace proxent {

TopK empty_top_k(std::int64_t rows, std::int64_t k, DType dtype, Device device) {
  check(k >= 1, "top_k: k must be at least 1, got ", k);
  return {Tensor::full({rows, k}, dtype, -std::numeric_limits<double>::infinity(), device),
          Tensor::full({rows, k}, DType::i32, -1, device)};
}

void top_k_update(TopK& best, const Tensor& scores, std::int64_t first_column) {
  check(scores.shape().rank() == 2, "top_k: scores must be (rows, cols), got ", scores.shape());
  check(best.values.shape().rank() == 2 && best.values.dim(0) == scores.dim(0) &&
            best.values.dtype() == scores.dtype() && best.values.device() == scores.device(),
        "top_k: scores are ", scores, ", the best so far ", best.values);
  check(
      first_column >= 0 && first_column + scores.dim(1) <= std::numeric_limits<std::int32_t>::max(),
      "top_k: columns ", first_column, " to ", first_column + scores.dim(1), " do not fit 32 bits");
  launch("top_k_update", scores.device(), [&](auto device) {
    kernel::top_k_update(device, scores, first_column, best.values, best.indices);
  });
  best.values.mark_edited();
  best.indices.mark_edited();
}

TopK top_k(const Tensor& x, std::int64_t k) {
  check(x.shape().rank() == 2, "top_k: x must be (rows, cols), got ", x.shape());
  TopK best = empty_top_k(x.dim(0), k, x.dtype(), x.device());
  top_k_update(best, x, 0);
  return best;
}

}  // namespace proxent
