// SoftTriple (Qian et al., "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling", ICCV
// 2019). Its classification is the multi-proxy loss with soft selection and without entropies; what
// it adds is a term that merges centres of a class.
#pragma once

#include "losses/proxies.h"

namespace proxent {

// Which of C x K proxies make a pair: all of one class, s < t, class after class. Indices (C K (K -
// 1) / 2) into the rows of (C K, D).
struct ProxyPairs {
  Tensor first, second;
  static ProxyPairs of(const Variable& proxies);  // (C, K, D); on their device
};

// sum_c sum_{s<t} sqrt(2 + 1e-5 - 2 w_cs . w_ct) / (C K (K - 1)), of normalised proxies w (C, K,
// D); 0 for K = 1. The 1e-5 keeps the root's slope finite where two centres have merged. Throws
// Error where the pairs are too many or too few for these proxies.
Variable merging_penalty(const Variable& proxies, const ProxyPairs& pairs);

class SoftTripleLoss : public MultiProxyEntropyLoss {
 public:
  // `options` with select = soft; weight_merge is the paper's tau.
  SoftTripleLoss(Module* parent, std::string name, const ProxyOptions& shape,
                 const MultiProxyEntropyOptions& options, double weight_merge);

  Variable operator()(const Variable& embeddings, const Tensor& labels) override;
  std::vector<Term> terms() const override;

 private:
  double weight_merge_;
  ProxyPairs pairs_;  // made by the first call, on its device
  Tensor penalty_;
};

}  // namespace proxent
