#include "losses/proxies.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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
  check<UsageError>(o.revive_below >= 0 && o.revive_below < 1,
                    "proxies: revive_below must lie in [0, 1), got ", o.revive_below);
  return Tensor({o.classes, o.per_class, o.dim}, DType::f32);
}

double entropy(const double* q, std::int64_t n) {
  double sum = 0;
  for (std::int64_t k = 0; k < n; ++k) sum -= q[k] > 0 ? q[k] * std::log(q[k]) : 0;
  return sum;
}

}  // namespace

LossWithProxies::LossWithProxies(Module* parent, std::string name, const ProxyOptions& shape)
    : MetricLoss(parent, std::move(name)),
      proxies(this, "proxies", Role::proxies, unset_proxies(shape)),
      shape_(shape) {
  LossWithProxies::initialize(Philox(shape.seed, stream_of("initialize proxies")));
}

void LossWithProxies::initialize(Philox random) {
  const double deviation = shape_.init == ProxyInit::normal
                               ? 1.0 / 8
                               : std::sqrt(2.0 / (shape_.classes * shape_.per_class));
  fill_normal(proxies.mutable_value(), random, 0.0, deviation);
}

PlainProxyLoss::PlainProxyLoss(Module* parent, std::string name, const ProxyOptions& shape,
                               Function function, double assignment_scale)
    : LossWithProxies(parent, std::move(name), shape),
      function_(std::move(function)),
      assignment_scale_(assignment_scale) {}

Variable PlainProxyLoss::operator()(const Variable& embeddings, const Tensor& labels) {
  Scope scope(name());
  return function_(embeddings, proxies, labels);
}

MultiProxyEntropyLoss::MultiProxyEntropyLoss(Module* parent, std::string name,
                                             const ProxyOptions& shape,
                                             const MultiProxyEntropyOptions& options)
    : LossWithProxies(parent, std::move(name), shape), options_(options) {
  (void)options.settings();  // refuses what is out of range
  if (options.weight_usage > 0 || shape.revive_below > 0)
    usage.emplace(
        this, "usage",
        Tensor::full({shape.classes, shape.per_class}, DType::f32, 1.0 / shape.per_class));
}

void MultiProxyEntropyLoss::initialize(Philox random) {
  LossWithProxies::initialize(random);
  if (usage) usage->mutable_value().fill(1.0 / shape().per_class);
}

Variable MultiProxyEntropyLoss::operator()(const Variable& embeddings, const Tensor& labels) {
  Scope scope(name());
  const auto loss =
      shape().form == LossForm::fused ? multi_proxy_entropy : multi_proxy_entropy_composed;
  last_ = loss(embeddings, proxies, labels, options_, usage ? usage->value() : Tensor());
  if (shape().revive_below > 0 && is_training()) seen_ = {embeddings.value(), labels};
  if (usage && is_training())
    update_proxy_usage(last_.assignment, labels, shape().usage_rate, usage->mutable_value());
  return std::exchange(last_.loss, {});  // kept here, the graph's end would outlive the step
}

void MultiProxyEntropyLoss::begin_step() {
  const bool has_values = seen_.labels.is_defined() && seen_.labels.device() != Device::meta;
  if (has_values)
    revive_proxies(seen_.embeddings, seen_.labels,
                   shape().revive_below / static_cast<double>(shape().per_class),
                   proxies.mutable_value(), usage->mutable_value());
}

std::vector<MetricLoss::Term> MultiProxyEntropyLoss::terms() const {
  const auto& [ce, inter, intra, used] = last_.terms;
  std::vector<Term> all = {{"ce", 1, ce},
                           {"inter", -options_.weight_inter, inter},
                           {"intra", options_.weight_intra, intra}};
  if (options_.weight_usage > 0) all.push_back({"usage", options_.weight_usage, used});
  return all;
}

namespace {

// The row of class c whose nearest proxy of the class is farthest; -1 without a row. z (B, D) and
// w (K, D) are of length one.
std::int64_t farthest_row(const std::vector<double>& z, const std::vector<std::int32_t>& labels,
                          std::int32_t c, const double* w, std::int64_t K, std::int64_t D) {
  std::int64_t farthest = -1;
  double least = 2;
  for (std::int64_t i = 0; i < std::ssize(labels); ++i) {
    if (labels[i] != c) continue;
    double nearest = -2;
    for (std::int64_t k = 0; k < K; ++k)
      nearest =
          std::max(nearest, std::inner_product(w + k * D, w + (k + 1) * D, z.data() + i * D, 0.0));
    if (nearest < least) least = nearest, farthest = i;
  }
  return farthest;
}

}  // namespace

std::int64_t revive_proxies(const Tensor& embeddings, const Tensor& labels, double least,
                            Tensor& proxies, Tensor& usage) {
  check(proxies.shape().rank() == 3 && embeddings.shape().rank() == 2 &&
            embeddings.dim(1) == proxies.dim(2) && labels.shape() == Shape{embeddings.dim(0)} &&
            usage.shape() == Shape{proxies.dim(0), proxies.dim(1)},
        "revive_proxies: expected embeddings (B, D), labels (B), proxies (C, K, D) and usage "
        "(C, K), got ",
        embeddings, ", ", labels, ", ", proxies, " and ", usage);
  const std::int64_t C = proxies.dim(0), K = proxies.dim(1), D = proxies.dim(2);
  const auto z = normalize_rows(embeddings).y.to_vector<double>();
  const Normalized unit = normalize_rows(proxies.reshape({C * K, D}));
  const auto w = unit.y.to_vector<double>(), lengths = unit.length.to_vector<double>();
  const auto used = usage.to_vector<double>();
  const auto label = labels.to_vector<std::int32_t>();
  std::int64_t moved = 0;
  for (std::int32_t c = 0; c < C; ++c) {
    const auto first = used.begin() + c * K;
    const std::int64_t k = std::min_element(first, first + K) - first;
    if (first[k] >= least) continue;
    const std::int64_t row = farthest_row(z, label, c, w.data() + c * K * D, K, D);
    if (row < 0) continue;
    const double length =
        std::accumulate(lengths.begin() + c * K, lengths.begin() + (c + 1) * K, 0.0) /
        static_cast<double>(K);
    std::vector<double> proxy(z.begin() + row * D, z.begin() + (row + 1) * D);
    for (double& x : proxy) x *= length;
    proxies.reshape({C * K, D})
        .slice(c * K + k, 1)
        .copy_from(Tensor::from({1, D}, proxy).to(proxies.dtype()).to(proxies.device()));
    usage.reshape({C * K}).slice(c * K + k, 1).fill(1.0 / static_cast<double>(K));
    ++moved;
  }
  return moved;
}

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
