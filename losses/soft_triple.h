// SoftTriple (Qian et al., "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling", ICCV
// 2019). Its classification is the multi-proxy loss with soft selection and without entropies; what
// it adds is a term that merges centres of a class.
#pragma once

#include "losses/multi_proxy_entropy_loss.h"

namespace proxent {

// sum_c sum_{s<t} sqrt(2 + 1e-5 - 2 w_cs . w_ct) / (C K (K - 1)), of normalised proxies w (C, K,
// D); 0 for K = 1. The 1e-5 keeps the root's slope finite where two centres have merged. Takes room
// for (C, K, K, D) numbers for a moment. Throws Error for another shape.
Variable merging_penalty(const Variable& proxies);

class SoftTripleLoss : public MultiProxyEntropyLoss {
 public:
  // `options` with select = soft; weight_merge is the paper's tau.
  SoftTripleLoss(Module* parent, std::string name, const ProxyOptions& shape,
                 const MultiProxyEntropyOptions& options, double weight_merge);

  Variable operator()(const Variable& embeddings, const Tensor& labels) override;
  std::vector<Term> terms() const override;

 private:
  double weight_merge_;
  Tensor penalty_;
};

}  // namespace proxent
