#include "losses/proxy_statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/gather.h"
#include "tensor/normalize.h"
#include "tensor/proxy_loss.h"

namespace proxent {
namespace {

double entropy(const double* q, std::int64_t n) {
  double sum = 0;
  for (std::int64_t k = 0; k < n; ++k) sum -= q[k] > 0 ? q[k] * std::log(q[k]) : 0;
  return sum;
}

}  // namespace

ProxyStatistics::ProxyStatistics(std::int64_t classes, std::int64_t per_class)
    : per_class_(per_class),
      rows_(classes, 0),
      wins_(classes * per_class, 0),
      share_(classes * per_class, 0.0),
      entropy_(classes, 0.0) {}

void ProxyStatistics::add(const Tensor& assignment, const Tensor& labels) {
  const auto classes = static_cast<std::int64_t>(rows_.size());
  check(assignment.shape().rank() == 2 && assignment.dim(1) == per_class_,
        "ProxyStatistics: assignment must be (rows, ", per_class_, "), got ", assignment);
  check_index(
      "ProxyStatistics", labels, assignment.device(),
      {.size = assignment.dim(0), .limit = classes, .what = "label", .exception = kIgnoredLabel});
  const std::vector<double> q = assignment.to_vector<double>();
  const std::vector<std::int32_t> label = labels.to_vector<std::int32_t>();
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (label[i] == kIgnoredLabel) continue;
    const double* row = q.data() + i * per_class_;
    const std::int64_t first = std::int64_t{label[i]} * per_class_;
    ++rows_[label[i]];
    ++wins_[first + (std::max_element(row, row + per_class_) - row)];
    for (std::int64_t k = 0; k < per_class_; ++k) share_[first + k] += row[k];
    entropy_[label[i]] += entropy(row, per_class_);
  }
}

ProxyReport ProxyStatistics::report() const {
  ProxyReport out;
  out.entropy_of_class.assign(rows_.size(), std::nan(""));
  std::int64_t rows = 0;
  for (std::size_t c = 0; c < rows_.size(); ++c) {
    if (rows_[c] == 0) continue;
    rows += rows_[c];
    out.assignment_entropy += entropy_[c];
    out.entropy_of_class[c] = entropy_[c] / static_cast<double>(rows_[c]);
    ++out.classes;
    std::vector<double> mean(share_.begin() + c * per_class_,
                             share_.begin() + (c + 1) * per_class_);
    for (double& share : mean) share /= static_cast<double>(rows_[c]);
    out.effective += std::exp(entropy(mean.data(), per_class_));
    const auto first = wins_.begin() + c * per_class_;
    out.dead += std::count(first, first + per_class_, 0);
  }
  if (rows == 0) return out;
  out.proxies = out.classes * per_class_;
  out.effective /= static_cast<double>(out.classes);
  out.used_per_class = static_cast<double>(out.proxies - out.dead) / out.classes;
  out.assignment_entropy /= static_cast<double>(rows);
  return out;
}

double ProxySpread::mean() const {
  return std::accumulate(of_class.begin(), of_class.end(), 0.0) /
         static_cast<double>(of_class.size());
}
double ProxySpread::least() const { return std::ranges::min(of_class); }
double ProxySpread::greatest() const { return std::ranges::max(of_class); }

ProxySpread proxy_spread(const Tensor& proxies) {
  check(proxies.shape().rank() == 3 && proxies.numel() > 0,
        "proxy_spread: proxies must be (classes, proxies per class, dim), got ", proxies);
  const std::int64_t C = proxies.dim(0), K = proxies.dim(1), D = proxies.dim(2);
  ProxySpread spread{.of_class = std::vector<double>(static_cast<std::size_t>(C))};
  if (K == 1) return spread;
  const Tensor unit = normalize_rows(proxies.reshape({C * K, D})).y;
  const std::vector<double> w = unit.to_vector<double>();
  spread.closest = 2;
  for (std::int64_t c = 0; c < C; ++c) {
    double sum = 0;
    for (std::int64_t k = 0; k < K; ++k)
      for (std::int64_t l = 0; l < k; ++l) {
        const double* a = w.data() + (c * K + k) * D;
        const double distance = 1 - std::inner_product(a, a + D, w.data() + (c * K + l) * D, 0.0);
        spread.closest = std::min(spread.closest, distance);
        sum += distance;
      }
    spread.of_class[static_cast<std::size_t>(c)] = 2 * sum / static_cast<double>(K * (K - 1));
  }
  return spread;
}

}  // namespace proxent
