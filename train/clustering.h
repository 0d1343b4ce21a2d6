// k-means and how well its clusters agree with classes: NMI and AMI, as the field reports them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

struct KMeansOptions {
  std::int64_t clusters = 8;
  std::int64_t restarts = 3;          // the one with the lowest inertia counts
  std::int64_t most_iterations = 50;  // of each; it ends before when no row changes its cluster
  std::uint64_t seed = 1;
};

struct KMeans {
  std::vector<std::int32_t> cluster;  // of each row; equally near centres: the lower
  double inertia = 0;                 // sum of squared distances to the rows' centres
  std::int64_t iterations = 0;        // of the best restart
  bool has_converged = false;
};

// Lloyd's algorithm from a greedy k-means++ start (Arthur and Vassilvitskii 2007; scikit-learn's):
// the first centre is any row; for each further one 2 + log(clusters) rows are drawn in proportion
// to their squared distance to the nearest centre so far, and the one is taken that leaves the
// smallest sum of them. A cluster that loses all its rows takes the row farthest from its own
// centre. Rows x (N, D) f32, on their device; the same result on every device and for any number of
// threads. Throws Error unless 1 <= clusters <= N, restarts and most_iterations are positive.
KMeans k_means(const Tensor& x, const KMeansOptions& options);

// How much two partitions of the same things tell about each other. H are their entropies in nats,
// MI their mutual information:
//   NMI arithmetic  MI / ((H(U) + H(V)) / 2)
//   NMI geometric   MI / sqrt(H(U) H(V))
//   AMI             (MI - E[MI]) / (mean - E[MI]), mean that of NMI, arithmetic or geometric,
// with E[MI] over random partitions with the same sizes (Vinh, Epps and Bailey 2010, eq. 24a).
// scikit-learn's normalized_mutual_info_score and adjusted_mutual_info_score are the same. NaN
// where a denominator is zero: one part only, or (AMI) every part of one thing.
struct PartitionAgreement {
  double nmi_arithmetic = 0, nmi_geometric = 0, ami_arithmetic = 0, ami_geometric = 0;
};
// Throws Error when the lengths differ.
PartitionAgreement partition_agreement(std::span<const std::int32_t> a,
                                       std::span<const std::int32_t> b);

}  // namespace proxent
