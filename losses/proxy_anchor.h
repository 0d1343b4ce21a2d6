// Proxy-Anchor (Kim et al., "Proxy Anchor Loss for Deep Metric Learning", CVPR 2020): each proxy
// pulls the pictures of its class and pushes the others, the hard ones most.
#pragma once

#include "autograd/ops.h"

namespace proxent {

struct ProxyAnchorOptions {
  double alpha = 32;   // scale
  double delta = 0.1;  // margin
};

// With cosines s_bc of embeddings (B, D) and proxies (C, 1, D), P+ the classes in the batch
// (equation 4 of the paper):
//   1/|P+| sum_{c in P+} log(1 + sum_{b of class c} e^{-alpha (s_bc - delta)})
//   + 1/C  sum_c         log(1 + sum_{b of others}  e^{ alpha (s_bc + delta)})
// Throws Error as check_proxy_inputs() in proxy_cosines.h, and for more than one proxy per class.
Variable proxy_anchor(const Variable& embeddings, const Variable& proxies, const Tensor& labels,
                      const ProxyAnchorOptions& options = {});

}  // namespace proxent
