#include "losses/soft_triple.h"

#include "losses/masks.h"

namespace proxent {

Variable merging_penalty(const Variable& proxies) {
  check(proxies.shape().rank() == 3,
        "merging_penalty: proxies must be (classes, proxies per class, dim), got ",
        proxies.value());
  const std::int64_t C = proxies.dim(0), K = proxies.dim(1), D = proxies.dim(2);
  if (K == 1) return 0 * sum(proxies);
  const Variable w = normalize_rows(reshape(proxies, {C * K, D}));
  // Every centre with every one of its class (C, K, K): each pair twice, and each with itself.
  const Variable cosines = sum_last(reshape(w, {C, K, 1, D}) * reshape(w, {C, 1, K, D}));
  const Variable distances = sqrt(-2 * cosines + (2 + 1e-5));
  const Tensor others = inverted(identity(K, proxies.dtype(), proxies.value().device()));
  return sum(distances * Variable(others)) / static_cast<double>(2 * C * K * (K - 1));
}

SoftTripleLoss::SoftTripleLoss(Module* parent, std::string name, const ProxyOptions& shape,
                               const MultiProxyEntropyOptions& options, double weight_merge)
    : MultiProxyEntropyLoss(parent, std::move(name), shape, options), weight_merge_(weight_merge) {}

Variable SoftTripleLoss::operator()(const Variable& embeddings, const Tensor& labels) {
  const Variable classification = MultiProxyEntropyLoss::operator()(embeddings, labels);
  Scope scope(name());
  const Variable penalty = merging_penalty(proxies);
  penalty_ = penalty.value();
  return classification + weight_merge_ * penalty;
}

std::vector<MetricLoss::Term> SoftTripleLoss::terms() const {
  return {MultiProxyEntropyLoss::terms().front(), {"merge", weight_merge_, penalty_}};
}

}  // namespace proxent
