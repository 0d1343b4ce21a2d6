// The multi-proxy entropy loss as a module: with its proxies, and how they are used.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "losses/multi_proxy_entropy.h"
#include "losses/proxies.h"

namespace proxent {

// multi_proxy_entropy(), with the running average behind its usage term.
class MultiProxyEntropyLoss : public LossWithProxies {
 public:
  MultiProxyEntropyLoss(Module* parent, std::string name, const ProxyOptions& shape,
                        const MultiProxyEntropyOptions& options = {});

  // (C, K): average of q per class; only with a weight_usage above 0.
  std::optional<Buffer> usage;

  // While training it also moves `usage` towards this batch's assignments, after they were used.
  Variable operator()(const Variable& embeddings, const Tensor& labels) override;

  // "ce", "inter", "intra" and, where it is on, "usage".
  std::vector<Term> terms() const override;
  const Tensor& assignment() const { return last_.assignment; }  // of the last call
  double assignment_scale() const override { return options_.settings().sigma_a; }
  // The composed form looks at its labels.
  bool is_recordable() const override { return shape().form == LossForm::fused; }

  void initialize(Philox random) override;

 private:
  MultiProxyEntropyOptions options_;
  MultiProxyEntropy last_;
};

}  // namespace proxent
