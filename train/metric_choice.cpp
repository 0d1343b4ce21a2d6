#include "train/metric_choice.h"

#include <algorithm>
#include <functional>

#include "data/parse_number.h"
#include "tensor/check.h"
#include "train/choice.h"
#include "train/text.h"

namespace proxent {
namespace {

constexpr std::int64_t kMostRows = 1'000'000;

// What stands before and behind the '@'.
struct NameAndValue {
  std::string name, value;
};
NameAndValue divided(const std::string& metric) {
  const auto at = metric.find('@');
  if (at == std::string::npos) return {metric, ""};
  return {metric.substr(0, at + 1), metric.substr(at + 1)};
}

std::int64_t k_of(const std::string& metric, std::string_view setting) {
  const auto [name, value] = divided(metric);
  const auto k = parse_number<std::int64_t>(value);
  check<UsageError>(k && *k >= 1 && *k <= kMostRows, setting, ": expected ", name,
                    "K with K from 1 to ", kMostRows, ", got '", metric, "'");
  return *k;
}

double far_of(const std::string& metric, std::string_view setting) {
  const auto far = parse_number<double>(divided(metric).value);
  check<UsageError>(
      far && *far > 0 && *far < 1, setting,
      ": expected tar@FAR with a false accept rate between 0 and 1 as tar@1e-3, got '", metric,
      "'");
  return *far;
}

template <class T, class Order = std::less<>>
void sort_and_unite(std::vector<T>& values, Order order = {}) {
  std::sort(values.begin(), values.end(), order);
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

// With the values of K that were named, or the usual ones.
void choose_all(MetricChoice& choice, bool names_k) {
  if (!names_k) choice.recall_at = {1, 2, 4, 8};
  choice.wants_map = choice.wants_mrr = choice.wants_nmi = choice.wants_ami = choice.wants_auc =
      true;
  for (const std::int64_t k : choice.recall_at) {
    if (k == 1) continue;  // all three are the same number
    choice.precision_at.push_back(k);
    choice.ndcg_at.push_back(k);
  }
  choice.tar_at.insert(choice.tar_at.end(), {1e-1, 1e-2, 1e-3, 1e-4});
}

// Adds one metric; false for a name that does not exist.
bool add(const std::string& metric, std::string_view setting, MetricChoice& choice) {
  const std::string name = divided(metric).name;
  if (name == "r@")
    choice.recall_at.push_back(k_of(metric, setting));
  else if (name == "p@")
    choice.precision_at.push_back(k_of(metric, setting));
  else if (name == "ndcg@")
    choice.ndcg_at.push_back(k_of(metric, setting));
  else if (name == "tar@")
    choice.tar_at.push_back(far_of(metric, setting));
  else if (metric == "map")
    choice.wants_map = true;
  else if (metric == "mrr")
    choice.wants_mrr = true;
  else if (metric == "nmi")
    choice.wants_nmi = true;
  else if (metric == "ami")
    choice.wants_ami = true;
  else if (metric == "auc")
    choice.wants_auc = true;
  else
    return metric == "map@r" || metric == "rp" || metric == "all";
  return true;
}

}  // namespace

void spell_out_metrics(std::vector<std::string>& metrics) {
  std::string before;
  for (std::string& metric : metrics) {
    if (parse_number<double>(metric) && !before.empty()) metric = before + metric;
    const NameAndValue parts = divided(metric);
    before = parts.value.empty() || metric == "map@r" ? "" : parts.name;
  }
}

std::string chooser_name(const std::string& choose_by) {
  return chosen<std::string>("run.choose_by", choose_by,
                             {{"r@1", "R@1"}, {"map@r", "MAP@R"}, {"rp", "RP"}});
}

MetricChoice metric_choice(const std::vector<std::string>& metrics, std::string_view setting) {
  MetricChoice choice;
  for (const std::string& metric : metrics)
    check<UsageError>(
        add(metric, setting, choice), setting,
        ": expected r@K (as r@1,2,4,8), map@r, rp, p@K, ndcg@K, map, mrr, nmi, ami, auc, tar@FAR ",
        "(as tar@1e-3) or all, got '", metric, "'.",
        suggestion(metric, {"r@1", "map@r", "rp", "p@1", "ndcg@10", "map", "mrr", "nmi", "ami",
                            "auc", "tar@1e-3", "all"}));
  if (std::ranges::find(metrics, "all") != metrics.end())
    choose_all(choice, std::ranges::any_of(metrics, [](const std::string& metric) {
                 return metric.starts_with("r@");
               }));
  for (auto* ks : {&choice.recall_at, &choice.precision_at, &choice.ndcg_at}) sort_and_unite(*ks);
  sort_and_unite(choice.tar_at, std::greater<>());
  return choice;
}

}  // namespace proxent
