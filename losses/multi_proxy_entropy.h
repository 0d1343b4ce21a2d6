// The multi-proxy entropy loss, after "Multi-Proxy Learning from an Entropy Optimization
// Perspective" (Yu, Zhang, Li, Zhang; IJCAI 2022): each class owns K proxies, and besides being
// classified, an embedding is asked to be undecided between classes (large inter-class entropy:
// smooth predictions) and decided between its own class's proxies (small intra-class entropy: the
// proxies come to stand for different kinds of pictures). The exact form is this project's reading
// of the published idea.
//
// The loss stands here twice: from plain ops, to be read, and fused, to be used.
#pragma once

#include <optional>

#include "autograd/ops.h"
#include "tensor/proxy_loss.h"

namespace proxent {

struct MultiProxyEntropyOptions {
  double sigma = 18;                   // softmax scale of the cross-entropy; ProxyNCA++ has 2 * 3^2
  std::optional<double> sigma_h = {};  // of the inter-class entropy; none: sigma
  // Of the intra-class entropy. None: sigma / 2; method and derivation have sigma, half of it was
  // chosen with weight_usage, on classes that hide finer ones.
  std::optional<double> sigma_a = {};
  std::optional<double> gamma = {};  // temperature of `select`; none: 0.1 for soft, else 1 / sigma
  double margin = 0;                 // taken from the true class's score in the cross-entropy
  ProxySelect select = ProxySelect::lse;
  ProxyNegatives negatives = ProxyNegatives::selected;
  InterClasses inter = InterClasses::all;
  double weight_inter = 0.1;  // lambda_h; useful up to 0.3, above 0.5 it undoes the classification
  double weight_intra = 0.1;  // lambda_a
  // lambda_u, keeps the proxies of a class in even use; not in the paper. Training has 0.3: without
  // it one proxy of each class takes all. It needs `usage`, hence not here.
  double weight_usage = 0;
  bool normalise_entropy = false;  // divide inter by log C, intra and usage by log K
  bool detach_selection = false;   // soft: no gradient through the selection weights

  // The numbers with every default filled in. Throws UsageError naming the option that is wrong:
  // scales and gamma must lie in [1e-6, 1e6], margin and weights be finite and not negative.
  ProxyLossSettings settings() const;
};

// Averages over the rows that count, so that
//   loss = cross_entropy - weight_inter inter + weight_intra intra + weight_usage usage.
// Scalars on the device of the loss; item() reads one.
struct MultiProxyEntropyTerms {
  Tensor cross_entropy;
  Tensor inter;  // entropy over classes, in nats (or of log C if normalised), never below 0
  Tensor intra;  // entropy over the true class's proxies, likewise
  Tensor usage;  // mean of KL(r || q), r the choice under even use; 0 without a usage average
};

struct MultiProxyEntropy {
  Variable loss;  // ()
  MultiProxyEntropyTerms terms;
  Tensor assignment;  // (B, K): q = softmax_k(sigma_a s_yk); 0 in ignored rows
};

// The loss of embeddings (B, D) with i32 labels (B) against raw proxies (C, K, D); both sides are
// normalised here (a zero row stays zero, as torch.nn.functional.normalize). Rows with label
// kIgnoredLabel add nothing and are not counted; without any row the loss is 0. `usage` (C, K) is a
// constant, see update_proxy_usage; it may be left out while weight_usage is 0.
// Throws Error for shapes, dtypes and, on the CPU, labels that do not fit (label, row and range),
// UsageError for options.
MultiProxyEntropy multi_proxy_entropy(const Variable& embeddings, const Variable& proxies,
                                      const Tensor& labels,
                                      const MultiProxyEntropyOptions& options = {},
                                      const Tensor& usage = {});

// The same, written as its formulas. Keeps a few dozen (B, CK) and (B, C) matrices.
MultiProxyEntropy multi_proxy_entropy_composed(const Variable& embeddings, const Variable& proxies,
                                               const Tensor& labels,
                                               const MultiProxyEntropyOptions& options = {},
                                               const Tensor& usage = {});

}  // namespace proxent
