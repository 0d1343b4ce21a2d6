// The trained side of losses over proxies: the proxies as a module.
#pragma once

#include <functional>
#include <string>

#include "losses/metric_loss.h"

namespace proxent {

// How proxies start, each drawn on its own: equal proxies of a class would get equal gradients and
// stay equal for ever.
enum class ProxyInit {
  normal,   // randn / 8, as ProxyNCA++
  kaiming,  // normal with deviation sqrt(2 / (C K)), as Proxy-Anchor:
            // kaiming_normal_(mode="fan_out")
  uniform,  // in +-1 / sqrt(C K), as SoftTriple: kaiming_uniform_(a=sqrt(5)) over (D, C K)
};
enum class LossForm { fused, composed };

struct ProxyOptions {
  std::int64_t classes = 0, per_class = 4, dim = 512;  // C, K, D; each 1 or more
  ProxyInit init = ProxyInit::normal;
  std::uint64_t seed = 0;
  LossForm form = LossForm::fused;
  double usage_rate = 0.1;  // of the running average of each proxy's use, in [0, 1]
};

// A loss against proxies of its own.
class LossWithProxies : public MetricLoss {
 public:
  // Throws UsageError for options that are out of range.
  LossWithProxies(Module* parent, std::string name, const ProxyOptions& shape);

  Parameter proxies;  // (C, K, D) f32, not normalised

  const Parameter* proxy_parameter() const override { return &proxies; }
  void initialize(Philox random) override;

 protected:
  const ProxyOptions& shape() const { return shape_; }

 private:
  ProxyOptions shape_;
};

// A loss of embeddings, proxies and labels as it stands in its formula. The function must work as
// a recording repeats it: see MetricLoss::is_recordable().
class PlainProxyLoss : public LossWithProxies {
 public:
  using Function = std::function<Variable(const Variable& embeddings, const Variable& proxies,
                                          const Tensor& labels)>;
  PlainProxyLoss(Module* parent, std::string name, const ProxyOptions& shape, Function function,
                 double assignment_scale);

  Variable operator()(const Variable& embeddings, const Tensor& labels) override;
  double assignment_scale() const override { return assignment_scale_; }
  bool is_recordable() const override { return true; }

 private:
  Function function_;
  double assignment_scale_;
};

}  // namespace proxent
