// Losses over pairs and triplets of pictures: contrastive, triplet, multi-similarity. A batch is
// compared with itself and, optionally, with embeddings of earlier batches.
#pragma once

#include "losses/metric_loss.h"

namespace proxent {

// Cosines (B, N) of anchors with references, and which of them are of one class, a picture with
// itself left out, and of two: masks (B, N) of ones and zeros. A reference may be in neither.
struct Comparison {
  Variable cosines;
  Tensor positive, negative;
};

// Constants that a batch is compared with beside itself; undefined: none.
struct References {
  Tensor embeddings;  // (M, D), of length one
  Tensor labels;      // (M), as numbers in the embeddings' dtype
  Tensor are_used;    // (M) or (1): 0 for those that are in neither mask
};

// Every row with every other and with the references, in this order: N = B + M. Throws Error unless
// embeddings are (B, D) and labels i32 (B), B >= 1.
Comparison compare(const Variable& embeddings, const Tensor& labels, const References& more = {});

// Of distances d = sqrt(2 - 2 s): mean of max(0, d - positive_margin) over the positive pairs where
// it is above 0, plus that of max(0, negative_margin - d) over the negative ones (Hadsell et al.,
// CVPR 2006, in the linear form and the averages of pytorch-metric-learning's ContrastiveLoss).
struct ContrastiveOptions {
  double positive_margin = 0, negative_margin = 1;
};
Variable contrastive(const Comparison& pairs, const ContrastiveOptions& options = {});

enum class TripletMining {
  batch_hard,  // each anchor's farthest positive and nearest negative (Hermans et al., 2017)
  semi_hard    // all with d_ap < d_an < d_ap + margin (Schroff et al., "FaceNet", CVPR 2015)
};
// Of distances d = sqrt(2 - 2 s): mean of max(0, d_ap - d_an + margin), batch_hard over the anchors
// that have a positive and a negative, semi_hard over the triplets. Semi-hard mining looks at
// B N^2 triplets and throws UsageError for more than 2^27.
struct TripletOptions {
  double margin = 0.2;
  TripletMining mining = TripletMining::batch_hard;
};
Variable triplet(const Comparison& pairs, const TripletOptions& options = {});

// Wang et al., "Multi-Similarity Loss with General Pair Weighting", CVPR 2019. Of each anchor's
// pairs those are kept that are not told apart by epsilon: negatives above its least positive -
// epsilon, positives below its greatest negative + epsilon. Mean over the anchors of
//   1/alpha log(1 + sum_p e^{-alpha (s - base)}) + 1/beta log(1 + sum_n e^{beta (s - base)}).
// base is 0.5 as in its code; the paper's lambda is 1.
struct MultiSimilarityOptions {
  double alpha = 2, beta = 50, base = 0.5, epsilon = 0.1;
};
Variable multi_similarity(const Comparison& pairs, const MultiSimilarityOptions& options = {});

}  // namespace proxent
