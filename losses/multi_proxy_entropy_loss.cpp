#include "losses/multi_proxy_entropy_loss.h"

namespace proxent {

MultiProxyEntropyLoss::MultiProxyEntropyLoss(Module* parent, std::string name,
                                             const ProxyOptions& shape,
                                             const MultiProxyEntropyOptions& options)
    : LossWithProxies(parent, std::move(name), shape), options_(options) {
  (void)options.settings();  // refuses what is out of range
  if (options.weight_usage > 0)
    usage.emplace(
        this, "usage",
        Tensor::full({shape.classes, shape.per_class}, DType::f32, 1.0 / shape.per_class));
}

void MultiProxyEntropyLoss::initialize(Philox random) {
  LossWithProxies::initialize(random);
  if (usage) usage->mutable_value().fill(1.0 / shape().per_class);
}

Variable MultiProxyEntropyLoss::operator()(const Variable& embeddings, const Tensor& labels) {
  Scope scope(name());
  const auto loss =
      shape().form == LossForm::fused ? multi_proxy_entropy : multi_proxy_entropy_composed;
  last_ = loss(embeddings, proxies, labels, options_, usage ? usage->value() : Tensor());
  if (usage && is_training())
    update_proxy_usage(last_.assignment, labels, shape().usage_rate, usage->mutable_value());
  return std::exchange(last_.loss, {});  // kept here, the graph's end would outlive the step
}

std::vector<MetricLoss::Term> MultiProxyEntropyLoss::terms() const {
  const auto& [ce, inter, intra, used] = last_.terms;
  std::vector<Term> all = {{"ce", 1, ce},
                           {"inter", -options_.weight_inter, inter},
                           {"intra", options_.weight_intra, intra}};
  if (options_.weight_usage > 0) all.push_back({"usage", options_.weight_usage, used});
  return all;
}

}  // namespace proxent
