#include "losses/proxies.h"

#include <cmath>

namespace proxent {
namespace {

Tensor unset_proxies(const ProxyOptions& o) {
  check<UsageError>(o.classes >= 1 && o.per_class >= 1 && o.dim >= 1,
                    "proxies: classes, proxies per class and dim must be 1 or more, got ",
                    o.classes, ", ", o.per_class, " and ", o.dim);
  check<UsageError>(o.usage_rate >= 0 && o.usage_rate <= 1,
                    "proxies: usage_rate must lie in [0, 1], got ", o.usage_rate);
  return Tensor({o.classes, o.per_class, o.dim}, DType::f32);
}

}  // namespace

LossWithProxies::LossWithProxies(Module* parent, std::string name, const ProxyOptions& shape)
    : MetricLoss(parent, std::move(name)),
      proxies(this, "proxies", Role::proxies, unset_proxies(shape)),
      shape_(shape) {
  LossWithProxies::initialize(Philox(shape.seed, stream_of("initialize proxies")));
}

void LossWithProxies::initialize(Philox random) {
  Tensor& values = proxies.mutable_value();
  const auto count = static_cast<double>(shape_.classes * shape_.per_class);
  switch (shape_.init) {
    case ProxyInit::normal:
      return fill_normal(values, random, 0.0, 1.0 / 8);
    case ProxyInit::kaiming:
      return fill_normal(values, random, 0.0, std::sqrt(2.0 / count));
    case ProxyInit::uniform:
      return fill_uniform(values, random, -1 / std::sqrt(count), 1 / std::sqrt(count));
  }
}

PlainProxyLoss::PlainProxyLoss(Module* parent, std::string name, const ProxyOptions& shape,
                               Function function, double assignment_scale)
    : LossWithProxies(parent, std::move(name), shape),
      function_(std::move(function)),
      assignment_scale_(assignment_scale) {}

Variable PlainProxyLoss::operator()(const Variable& embeddings, const Tensor& labels) {
  Scope scope(name());
  return function_(embeddings, proxies, labels);
}

}  // namespace proxent
