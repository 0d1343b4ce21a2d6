#include "train/proxy_diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "tensor/normalize.h"
#include "train/clustering.h"

namespace proxent {
namespace {

// (N, K): softmax_k(scale cosine) with the proxies of each row's class.
std::vector<double> assignments(const Tensor& proxies, double scale, const Embeddings& embeddings) {
  const std::int64_t C = proxies.dim(0), K = proxies.dim(1), D = proxies.dim(2);
  const std::int64_t N = embeddings.values.dim(0);
  const auto z = normalize_rows(embeddings.values).y.to_vector<double>();
  const auto w = normalize_rows(proxies.reshape({C * K, D})).y.to_vector<double>();
  std::vector<double> q(static_cast<std::size_t>(N * K));
  for (std::int64_t i = 0; i < N; ++i) {
    double* row = q.data() + i * K;
    const double* own = w.data() + embeddings.labels[static_cast<std::size_t>(i)] * K * D;
    for (std::int64_t k = 0; k < K; ++k)
      row[k] = scale * std::inner_product(own + k * D, own + (k + 1) * D, z.data() + i * D, 0.0);
    const double top = *std::max_element(row, row + K);
    double sum = 0;
    for (std::int64_t k = 0; k < K; ++k) sum += row[k] = std::exp(row[k] - top);
    for (std::int64_t k = 0; k < K; ++k) row[k] /= sum;
  }
  return q;
}

// The share of rows whose fine label is the most frequent of their cluster.
double purity_of(const std::vector<std::int64_t>& clusters, const std::vector<std::string>& fine) {
  std::map<std::int64_t, std::map<std::string, std::int64_t>> counts;
  for (std::size_t i = 0; i < clusters.size(); ++i) ++counts[clusters[i]][fine[i]];
  std::int64_t majority = 0;
  for (const auto& [cluster, of_label] : counts) {
    std::int64_t most = 0;
    for (const auto& [label, count] : of_label) most = std::max(most, count);
    majority += most;
  }
  return static_cast<double>(majority) / static_cast<double>(clusters.size());
}

// Of the rows of each class: nearest proxies and fine labels, numbered.
struct ClassParts {
  std::vector<std::int32_t> proxy, fine;
};

bool is_one_part(const std::vector<std::int32_t>& parts) {
  const auto [least, most] = std::minmax_element(parts.begin(), parts.end());
  return *least == *most;
}

std::optional<double> mean_nmi(const std::map<std::int32_t, ClassParts>& classes) {
  double sum = 0;
  std::int64_t count = 0;
  for (const auto& [label, parts] : classes) {
    if (is_one_part(parts.fine)) continue;  // nothing to find
    if (!is_one_part(parts.proxy))
      sum += partition_agreement(parts.proxy, parts.fine).nmi_arithmetic;
    ++count;
  }
  return count > 0 ? std::optional(sum / static_cast<double>(count)) : std::nullopt;
}

}  // namespace

ProxyDiagnostics diagnose_proxies(const MetricLoss& loss, const Dataset& dataset,
                                  const Embeddings& embeddings) {
  check(loss.proxy_parameter() != nullptr, "diagnose_proxies: ", loss.name(), " has no proxies");
  const Tensor& proxies = loss.proxy_parameter()->value();
  check(proxies.dim(0) == dataset.classes(), "diagnose_proxies: the loss has proxies of ",
        proxies.dim(0), " classes, the data set has ", dataset.classes());
  const std::int64_t K = proxies.dim(1), N = embeddings.values.dim(0);
  const std::vector<double> q = assignments(proxies, loss.assignment_scale(), embeddings);
  ProxyStatistics statistics(proxies.dim(0), K);
  statistics.add(Tensor::from({N, K}, q), Tensor::from({N}, embeddings.labels));

  std::vector<std::int64_t> nearest, only;
  std::vector<std::string> fine;
  std::map<std::string, std::int32_t> number;
  std::map<std::int32_t, ClassParts> classes;
  for (std::int64_t i = 0; i < N; ++i) {
    const auto row = static_cast<std::size_t>(i);
    const Sample& sample = dataset.samples[static_cast<std::size_t>(embeddings.samples[row])];
    if (sample.fine.empty()) continue;
    const double* mine = q.data() + i * K;
    const std::int32_t label = embeddings.labels[row];
    const auto k = static_cast<std::int32_t>(std::max_element(mine, mine + K) - mine);
    nearest.push_back(label * K + k);
    only.push_back(label);
    fine.push_back(sample.fine);
    classes[label].proxy.push_back(k);
    classes[label].fine.push_back(
        number.emplace(sample.fine, static_cast<std::int32_t>(number.size())).first->second);
  }
  ProxyDiagnostics out{.report = statistics.report(),
                       .pictures = N,
                       .class_names = dataset.class_names,
                       .spread = proxy_spread(proxies)};
  if (!fine.empty()) {
    out.judged = std::ssize(fine);
    out.purity = purity_of(nearest, fine);
    out.purity_of_one = purity_of(only, fine);
    out.nmi = mean_nmi(classes);
  }
  return out;
}

std::string to_text(const ProxyDiagnostics& d) {
  const ProxyReport& r = d.report;
  std::string text = fmt::format(
      "{} per class, {:.2f} used, {:.2f} effective, {} of {} dead, spread {:.2f}, entropy {:.3f}",
      r.proxies / std::max<std::int64_t>(1, r.classes), r.used_per_class, r.effective, r.dead,
      r.proxies, d.spread, r.assignment_entropy);
  if (d.purity)
    text += fmt::format(", purity {:.3f} ({:.3f} with one) of {} pictures", *d.purity,
                        *d.purity_of_one, d.judged);
  if (d.nmi) text += fmt::format(", NMI {:.3f}", *d.nmi);
  return text;
}

Json to_json(const ProxyDiagnostics& d) {
  Json json = Json::object({{"pictures", d.pictures},
                            {"proxies", d.report.proxies},
                            {"dead", d.report.dead},
                            {"used_per_class", d.report.used_per_class},
                            {"effective_per_class", d.report.effective},
                            {"assignment_entropy", d.report.assignment_entropy},
                            {"spread", d.spread}});
  Json::Members of_class;
  for (std::size_t c = 0; c < d.class_names.size(); ++c) {
    const double entropy = d.report.entropy_of_class[c];
    if (!std::isnan(entropy)) of_class.emplace_back(d.class_names[c], entropy);
  }
  json["assignment_entropy_of_class"] = Json::object(std::move(of_class));
  if (d.purity) {
    json["purity"] = *d.purity;
    json["purity_of_one"] = *d.purity_of_one;
    json["judged"] = d.judged;
    json["nmi"] = d.nmi ? Json(*d.nmi) : Json();
  }
  return json;
}

}  // namespace proxent
