#include "losses/proxy_gml.h"

#include <algorithm>
#include <cmath>

#include "losses/masks.h"
#include "losses/proxy_cosines.h"
#include "tensor/gather.h"
#include "tensor/topk.h"

namespace proxent {
namespace {

// (rows, cols): 1 for the k largest of each row.
Tensor largest(const Tensor& x, std::int64_t k) {
  const Tensor values = top_k(x, k).values;
  const Tensor last = Tensor::full({x.dim(0)}, DType::i32, static_cast<double>(k - 1), x.device());
  const Tensor least = pick(values, last);
  return inverted(is_positive(sub(least.reshape({x.dim(0), 1}), x)));
}

// How each proxy is classified by the others: cross-entropy of the sums of its cosines per class.
Variable proxy_term(const Variable& proxies) {
  const std::int64_t C = proxies.dim(0), K = proxies.dim(1), D = proxies.dim(2);
  const Tensor of_proxies = arange(C * K, proxies.value().device(), K);
  const Variable s = proxy_cosines("proxy_gml", reshape(proxies, {C * K, D}), proxies, of_proxies);
  return cross_entropy(sum_last(s), of_proxies);
}

}  // namespace

Variable proxy_gml(const Variable& embeddings, const Variable& proxies, const Tensor& labels,
                   const ProxyGmlOptions& options) {
  const Variable s = proxy_cosines("proxy_gml", embeddings, proxies, labels);
  const std::int64_t B = s.dim(0), C = s.dim(1), K = s.dim(2);
  const auto wanted =
      static_cast<std::int64_t>(std::ceil(options.share * static_cast<double>(C * K)));
  const std::int64_t kept = std::clamp(wanted, K, C * K);
  constexpr double kOwnFirst = 1000;  // above any cosine
  const Tensor own = one_hot(labels, C, s.dtype(), kOwnFirst).reshape({B, C, 1});
  const Tensor ranked = add(s.value(), own).reshape({B, C * K});
  const Tensor mask = largest(ranked, kept).reshape({B, C, K});
  const Variable logits = sum_last(s * Variable(mask)) + Variable(hidden(has_any(mask)));
  Variable loss = cross_entropy(logits, labels);
  if (options.weight_proxies == 0) return loss;
  return loss + options.weight_proxies * proxy_term(proxies);
}

}  // namespace proxent
