// What proxies came to stand for: how often each is chosen, and how far apart they are.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

// What a set of assignments says about the proxies.
struct ProxyReport {
  std::int64_t classes = 0;       // that had a row
  std::int64_t proxies = 0;       // of those classes
  std::int64_t dead = 0;          // of those: never the nearest of its class
  double used_per_class = 0;      // mean number of proxies that were the nearest at least once
  double effective = 0;           // mean over classes of exp H(mean q): 1 .. K
  double assignment_entropy = 0;  // mean over rows of H(q): 0 (decided) .. log K
  std::vector<double> entropy_of_class;  // the same within each class; NaN where it had no row
};

// Gathers assignments over many batches, an epoch's say.
class ProxyStatistics {
 public:
  ProxyStatistics(std::int64_t classes, std::int64_t per_class);
  // assignment (B, K) and labels (B) of one batch; ignored rows are left out.
  void add(const Tensor& assignment, const Tensor& labels);
  ProxyReport report() const;

 private:
  std::int64_t per_class_;
  std::vector<std::int64_t> rows_, wins_;  // per class; per proxy
  std::vector<double> share_;              // per proxy: sum of q
  std::vector<double> entropy_;            // per class: sum of H(q)
};

// How far apart the proxies of a class are, in cosine distances: 0 (collapsed) .. 2.
struct ProxySpread {
  std::vector<double> of_class;  // mean over pairs of the class's proxies
  double closest = 0;            // of all pairs within a class: how near two proxies came

  double mean() const;  // over classes
  double least() const;
  double greatest() const;
};
// Of proxies (C, K, D), f32 or f64; all zeros if K is one. Throws Error for another shape.
ProxySpread proxy_spread(const Tensor& proxies);

}  // namespace proxent
