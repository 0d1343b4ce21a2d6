#include "losses/metric_loss.h"

namespace proxent {

std::vector<std::pair<std::string, double>> MetricLoss::weighted_terms(
    std::span<const double> values) const {
  const std::vector<Term> all = terms();
  check(values.size() == all.size(), name(), ": expected the values of ", all.size(),
        " terms, got ", values.size());
  std::vector<std::pair<std::string, double>> weighted;
  for (std::size_t i = 0; i < all.size(); ++i)
    weighted.emplace_back(all[i].name, all[i].weight * values[i]);
  return weighted;
}

}  // namespace proxent
