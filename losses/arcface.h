// ArcFace (Deng et al., CVPR 2019), and Sub-center ArcFace (Deng et al., ECCV 2020): a softmax over
// cosines whose true class must win by an angle.
#pragma once

#include "autograd/ops.h"

namespace proxent {

struct ArcFaceOptions {
  double sigma = 64;    // scale of the softmax
  double margin = 0.5;  // radians
};

// Cross-entropy of sigma * S, where S_c is the largest cosine of the class's proxies (C, K, D) -
// K = 1: ArcFace, K > 1: Sub-center ArcFace - and the true class's is cos(theta + margin), or,
// where that would rise again (theta > pi - margin), cos(theta) - margin sin(margin), as the
// authors' code. Throws Error as check_proxy_inputs() in proxy_cosines.h.
Variable arcface(const Variable& embeddings, const Variable& proxies, const Tensor& labels,
                 const ArcFaceOptions& options = {});

}  // namespace proxent
