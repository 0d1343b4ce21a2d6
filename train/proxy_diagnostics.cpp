#include "train/proxy_diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "tensor/normalize.h"
#include "train/clustering.h"
#include "train/text.h"

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

void add_distances(const ProxyDiagnostics& d, Json& json) {
  const ProxySpread& spread = d.spread;
  for (const auto& [key, value] : {std::pair("spread", spread.mean()),
                                   {"spread_least", spread.least()},
                                   {"spread_greatest", spread.greatest()},
                                   {"closest", spread.closest}}) {
    json[key] = d.per_class > 1 ? Json(value) : Json();
    if (d.per_class == 1) json["reasons"][key] = "there is one proxy per class";
  }
}

void add_use(const ProxyDiagnostics& d, Json& json) {
  json["pictures"] = d.pictures;
  json["proxies"] = d.report.proxies;
  json["dead"] = d.report.dead;
  json["used_per_class"] = d.report.used_per_class;
  json["effective_per_class"] = d.report.effective;
  json["assignment_entropy"] = d.report.assignment_entropy;
  Json::Members entropy, spread;
  for (std::size_t c = 0; c < d.class_names.size(); ++c) {
    if (std::isnan(d.report.entropy_of_class[c])) continue;
    entropy.emplace_back(d.class_names[c], d.report.entropy_of_class[c]);
    if (d.per_class > 1) spread.emplace_back(d.class_names[c], d.spread.of_class[c]);
  }
  json["assignment_entropy_of_class"] = Json::object(std::move(entropy));
  json["spread_of_class"] = Json::object(std::move(spread));
  if (!d.purity) return;
  json["purity"] = *d.purity;
  json["purity_of_one"] = *d.purity_of_one;
  json["judged"] = d.judged;
  json["nmi"] = d.nmi ? Json(*d.nmi) : Json();
  if (!d.nmi) json["reasons"]["nmi"] = "no class has two fine labels";
}

}  // namespace

bool has_proxies_to_diagnose(const MetricLoss& loss, const Dataset& dataset) {
  const Parameter* proxies = loss.proxy_parameter();
  return proxies &&
         (proxies->dim(1) > 1 || std::ranges::any_of(dataset.samples, [](const Sample& sample) {
            return !sample.fine.empty();
          }));
}

ProxyDiagnostics diagnose_proxies(const MetricLoss& loss) {
  check(loss.proxy_parameter() != nullptr, "diagnose_proxies: ", loss.name(), " has no proxies");
  const Tensor& proxies = loss.proxy_parameter()->value();
  return {.classes = proxies.dim(0), .per_class = proxies.dim(1), .spread = proxy_spread(proxies)};
}

ProxyDiagnostics diagnose_proxies(const MetricLoss& loss, const Dataset& dataset,
                                  const Embeddings& embeddings) {
  ProxyDiagnostics out = diagnose_proxies(loss);
  const Tensor& proxies = loss.proxy_parameter()->value();
  check(proxies.dim(0) == dataset.classes(), "diagnose_proxies: the loss has proxies of ",
        proxies.dim(0), " classes, the data set has ", dataset.classes());
  const std::int64_t K = proxies.dim(1), N = embeddings.values.dim(0);
  const std::vector<double> q = assignments(proxies, loss.assignment_scale(), embeddings);
  ProxyStatistics statistics(proxies.dim(0), K);
  statistics.add(Tensor::from({N, K}, q), Tensor::from({N}, embeddings.labels));
  out.report = statistics.report();
  out.pictures = N;
  out.class_names = dataset.class_names;

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
  if (!fine.empty()) {
    out.judged = std::ssize(fine);
    out.purity = purity_of(nearest, fine);
    out.purity_of_one = purity_of(only, fine);
    out.nmi = mean_nmi(classes);
  }
  return out;
}

std::string to_text(const ProxyDiagnostics& d) {
  std::string text = fmt::format("{} per class", d.per_class);
  if (d.per_class > 1)
    text += fmt::format(", spread {:.2f} ({:.2f} .. {:.2f}), closest pair {:.2f}", d.spread.mean(),
                        d.spread.least(), d.spread.greatest(), d.spread.closest);
  if (d.pictures == 0) return text;
  const ProxyReport& r = d.report;
  text += fmt::format("; of {}: {:.2f} used, {:.2f} effective, {} of {} dead, entropy {:.3f}",
                      counted(d.pictures, "picture", "pictures"), r.used_per_class, r.effective,
                      r.dead, r.proxies, r.assignment_entropy);
  if (d.purity)
    text += fmt::format(", purity {:.3f} ({:.3f} with one) of {}", *d.purity, *d.purity_of_one,
                        d.judged);
  if (d.nmi) text += fmt::format(", NMI {:.3f}", *d.nmi);
  return text;
}

Json to_json(const ProxyDiagnostics& d) {
  Json json = Json::object({{"classes", d.classes}, {"per_class", d.per_class}});
  add_distances(d, json);
  if (d.pictures > 0) add_use(d, json);
  return json;
}

}  // namespace proxent
