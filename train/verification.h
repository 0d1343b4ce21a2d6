// Are two pictures of one class? How well a threshold on their similarity answers that: the ROC
// curve, streamed over all pairs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"
#include "train/retrieval.h"

namespace proxent {

// A point of the ROC curve. A pair is accepted when its score is at least the threshold; the score
// is the cosine, or minus the Euclidean distance.
struct RocPoint {
  double far_target = 0;  // what was asked for
  double tar = 0;         // true accept rate: share of the accepted among pairs of one class
  double far = 0;         // false accept rate: the same among pairs of two; at most the target
  double threshold = 0;  // infinity where nothing may be accepted
  bool is_known = true;  // false: too few pairs of two classes to tell such a rate (below 1 / far)
};

struct Verification {
  std::int64_t positives = 0, negatives = 0;  // pairs of one class, of two; each pair once
  // The area under the curve: the chance that a pair of one class scores higher than one of two,
  // equals counted half. Exact up to auc_error, because pairs in one bin of the histogram count as
  // equal. NaN without pairs of both kinds, as are the points.
  double auc = 0, auc_error = 0;
  std::vector<RocPoint> points;  // for each FAR, in the order asked for
  // The whole curve, 20 points to a decade of the false accept rate: targets falling from 1 to the
  // least that the pairs can tell; points equal to the one before left out. Empty without pairs of
  // both kinds.
  std::vector<RocPoint> curve;
};

// Of all pairs of a query and a gallery row that RetrievalOptions admit (no row with itself or its
// group). Thresholds are the edges of 2^18 equal bins over the range that scores can have (cosine:
// 7.6e-6 wide), the lowest with FAR <= target for each target; TAR and FAR at it are exact. Memory:
// a copy of the gallery, a tile of similarities and 4 MiB per thread. Throws as evaluate_retrieval
// does, and UsageError for a rate outside 0 .. 1.
Verification verify(const Tensor& embeddings, std::span<const std::int32_t> labels,
                    const RetrievalOptions& options, std::span<const double> far_targets);

}  // namespace proxent
