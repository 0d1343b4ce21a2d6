// ProxyGML (Zhu et al., "Fewer is More: A Deep Graph Metric Learning Perspective Using Fewer
// Proxies", NeurIPS 2020): a picture listens to its nearest proxies only.
#pragma once

#include "autograd/ops.h"

namespace proxent {

struct ProxyGmlOptions {
  double share = 0.05;          // r: of all proxies, so many are kept for each picture
  double weight_proxies = 0.3;  // lambda: of the same classification of the proxies themselves
};

// With cosines s of embeddings (B, D) and proxies (C, K, D): each row keeps its own class's K and
// fills up to ceil(r C K) with its nearest; Z_c is the sum of what it keeps of class c, and the
// loss the cross-entropy of softmax(Z) over the classes of which anything is kept, plus lambda
// times the cross-entropy of each proxy's sums of cosines to every class. Where several are equally
// near, all are kept. Throws Error as check_proxy_inputs() in proxy_cosines.h.
Variable proxy_gml(const Variable& embeddings, const Variable& proxies, const Tensor& labels,
                   const ProxyGmlOptions& options = {});

}  // namespace proxent
