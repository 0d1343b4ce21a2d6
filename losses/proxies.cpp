#include "losses/proxies.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "tensor/gather.h"
#include "tensor/normalize.h"

namespace proxent {
namespace {

Tensor unset_proxies(const ProxyOptions& o) {
  check<UsageError>(o.classes >= 1 && o.per_class >= 1 && o.dim >= 1,
                    "proxies: classes, proxies per class and dim must be 1 or more, got ",
                    o.classes, ", ", o.per_class, " and ", o.dim);
  check<UsageError>(o.usage_rate >= 0 && o.usage_rate <= 1,
                    "proxies: usage_rate must lie in [0, 1], got ", o.usage_rate);
  return Tensor({o.classes, o.per_class, o.dim}, DType::f32);
}

double entropy(const double* q, std::int64_t n) {
  double sum = 0;
  for (std::int64_t k = 0; k < n; ++k) sum -= q[k] > 0 ? q[k] * std::log(q[k]) : 0;
  return sum;
}

}  // namespace

MultiProxyEntropyLoss::MultiProxyEntropyLoss(Module* parent, std::string name,
                                             const ProxyOptions& shape,
                                             const MultiProxyEntropyOptions& options)
    : Module(parent, std::move(name)),
      proxies(this, "proxies", Role::proxies, unset_proxies(shape)),
      shape_(shape),
      options_(options) {
  (void)options.settings();  // refuses what is out of range
  if (options.weight_usage > 0)
    usage.emplace(
        this, "usage",
        Tensor::full({shape.classes, shape.per_class}, DType::f32, 1.0 / shape.per_class));
  initialize(Philox(shape.seed, stream_of("initialize proxies")));
}

void MultiProxyEntropyLoss::initialize(Philox random) {
  const double deviation = shape_.init == ProxyInit::normal
                               ? 1.0 / 8
                               : std::sqrt(2.0 / (shape_.classes * shape_.per_class));
  fill_normal(proxies.mutable_value(), random, 0.0, deviation);
  if (usage) usage->mutable_value().fill(1.0 / shape_.per_class);
}

Variable MultiProxyEntropyLoss::operator()(const Variable& embeddings, const Tensor& labels) {
  Scope scope(name());
  const auto loss =
      shape_.form == LossForm::fused ? multi_proxy_entropy : multi_proxy_entropy_composed;
  last_ = loss(embeddings, proxies, labels, options_, usage ? usage->value() : Tensor());
  if (usage && is_training())
    update_proxy_usage(last_.assignment, labels, shape_.usage_rate, usage->mutable_value());
  return std::exchange(last_.loss, {});  // kept here, the graph's end would outlive the step
}

std::vector<std::pair<std::string, double>> MultiProxyEntropyLoss::terms_as_weighted() const {
  const auto& [ce, inter, intra, used] = last_.terms;
  check(ce.is_defined(), "terms_as_weighted: the loss was not called yet");
  return terms_as_weighted(std::array{ce.item(), inter.item(), intra.item(), used.item()});
}

std::vector<std::pair<std::string, double>> MultiProxyEntropyLoss::terms_as_weighted(
    std::span<const double> terms) const {
  check(terms.size() == 4, "terms_as_weighted: expected 4 numbers, got ", terms.size());
  std::vector<std::pair<std::string, double>> weighted = {
      {"ce", terms[0]},
      {"inter", -options_.weight_inter * terms[1]},
      {"intra", options_.weight_intra * terms[2]}};
  if (usage) weighted.emplace_back("usage", options_.weight_usage * terms[3]);
  return weighted;
}

ProxyStatistics::ProxyStatistics(std::int64_t classes, std::int64_t per_class)
    : per_class_(per_class),
      rows_(classes, 0),
      wins_(classes * per_class, 0),
      share_(classes * per_class, 0.0) {}

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
    entropy_ += entropy(row, per_class_);
  }
}

ProxyReport ProxyStatistics::report() const {
  ProxyReport out;
  std::int64_t rows = 0;
  for (std::size_t c = 0; c < rows_.size(); ++c) {
    if (rows_[c] == 0) continue;
    rows += rows_[c];
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
  out.assignment_entropy = entropy_ / static_cast<double>(rows);
  return out;
}

double proxy_spread(const Tensor& proxies) {
  check(proxies.shape().rank() == 3 && proxies.numel() > 0,
        "proxy_spread: proxies must be (classes, proxies per class, dim), got ", proxies);
  const std::int64_t C = proxies.dim(0), K = proxies.dim(1), D = proxies.dim(2);
  if (K == 1) return 0;
  const Tensor unit = normalize_rows(proxies.reshape({C * K, D})).y;
  // The K (K - 1) cosines between different proxies are |sum of them|^2 - sum of |each|^2.
  double cosines = 0;
  const std::vector<double> w = unit.to_vector<double>();
  for (std::int64_t c = 0; c < C; ++c)
    for (std::int64_t d = 0; d < D; ++d) {
      double sum = 0, squares = 0;
      for (std::int64_t k = 0; k < K; ++k) {
        const double x = w[(c * K + k) * D + d];
        sum += x;
        squares += x * x;
      }
      cosines += sum * sum - squares;
    }
  return 1 - cosines / static_cast<double>(C * K * (K - 1));
}

}  // namespace proxent
