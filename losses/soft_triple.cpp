#include "losses/soft_triple.h"

#include "tensor/gather.h"

namespace proxent {

ProxyPairs ProxyPairs::of(const Variable& proxies) {
  check(proxies.shape().rank() == 3,
        "merging_penalty: proxies must be (classes, proxies per class, dim), got ",
        proxies.value());
  const std::int64_t C = proxies.dim(0), K = proxies.dim(1);
  std::vector<std::int32_t> first, second;
  for (std::int64_t c = 0; c < C; ++c)
    for (std::int64_t s = 0; s < K; ++s)
      for (std::int64_t t = s + 1; t < K; ++t) {
        first.push_back(static_cast<std::int32_t>(c * K + s));
        second.push_back(static_cast<std::int32_t>(c * K + t));
      }
  const Shape shape{std::ssize(first)};
  const Device device = proxies.value().device();
  return {Tensor::from(shape, first).to(device), Tensor::from(shape, second).to(device)};
}

Variable merging_penalty(const Variable& proxies, const ProxyPairs& pairs) {
  const std::int64_t C = proxies.dim(0), K = proxies.dim(1), D = proxies.dim(2);
  check(pairs.first.numel() == C * K * (K - 1) / 2, "merging_penalty: ", C, " classes of ", K,
        " proxies make ", C * K * (K - 1) / 2, " pairs, got ", pairs.first.numel());
  if (K == 1) return 0 * sum(proxies);
  const Variable w = normalize_rows(reshape(proxies, {C * K, D}));
  const Variable cosines = sum_last(gather_rows(w, pairs.first) * gather_rows(w, pairs.second));
  return sum(sqrt(-2 * cosines + (2 + 1e-5))) / static_cast<double>(C * K * (K - 1));
}

SoftTripleLoss::SoftTripleLoss(Module* parent, std::string name, const ProxyOptions& shape,
                               const MultiProxyEntropyOptions& options, double weight_merge)
    : MultiProxyEntropyLoss(parent, std::move(name), shape, options), weight_merge_(weight_merge) {}

Variable SoftTripleLoss::operator()(const Variable& embeddings, const Tensor& labels) {
  const Variable classification = MultiProxyEntropyLoss::operator()(embeddings, labels);
  Scope scope(name());
  if (!pairs_.first.is_defined() || pairs_.first.device() != proxies.value().device())
    pairs_ = ProxyPairs::of(proxies);
  const Variable penalty = merging_penalty(proxies, pairs_);
  penalty_ = penalty.value();
  return classification + weight_merge_ * penalty;
}

std::vector<MetricLoss::Term> SoftTripleLoss::terms() const {
  return {MultiProxyEntropyLoss::terms().front(), {"merge", weight_merge_, penalty_}};
}

}  // namespace proxent
