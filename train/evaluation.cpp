#include "train/evaluation.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "tensor/similarity.h"
#include "train/text.h"

namespace proxent {
namespace {

Clustering cluster(const Tensor& embeddings, std::span<const std::int32_t> labels,
                   Distance distance) {
  const auto classes = std::ssize(std::set<std::int32_t>(labels.begin(), labels.end()));
  Clustering result;
  result.options.clusters = classes;
  if (classes == 0)
    result.reason = "there are no embeddings";
  else if (classes == 1)
    result.reason = "there is one class only";
  else if (classes == std::ssize(labels))
    result.reason = "every class has a single picture";
  if (!result.reason.empty()) return result;
  const KMeans found =
      k_means(distance == Distance::euclidean ? embeddings : unit_rows(embeddings), result.options);
  result.iterations = found.iterations;
  result.inertia = found.inertia;
  result.agreement = partition_agreement(labels, found.cluster);
  if (std::isnan(result.agreement.nmi_arithmetic)) result.reason = "all embeddings are equal";
  return result;
}

// Metrics over queries, none of which may have a match.
class RetrievalValues {
 public:
  explicit RetrievalValues(const RetrievalResult& result)
      : reason_(result.queries > 0                 ? ""
                : result.queries_without_match > 0 ? "no query has a match"
                                                   : "there are no queries") {}

  void add(std::string name, double value) {
    if (reason_.empty())
      values.push_back({std::move(name), value});
    else
      values.push_back({.name = std::move(name), .reason = reason_});
  }
  void add(std::string_view prefix, const std::vector<std::int64_t>& ks,
           const std::vector<ValueAtK>& at) {
    for (std::size_t i = 0; i < ks.size(); ++i)
      add(fmt::format("{}@{}", prefix, ks[i]), i < at.size() ? at[i].value : 0);
  }

  std::vector<MetricValue> values;

 private:
  std::string reason_;  // why there are no values; empty where there are
};

MetricValue known_or(std::string name, double value, std::string reason) {
  if (std::isnan(value)) return {.name = std::move(name), .reason = std::move(reason)};
  return {std::move(name), value};
}

void add_clustering(const EvaluationResult& result, std::vector<MetricValue>& values) {
  const Clustering nothing{.reason = "nothing was clustered"};
  const Clustering& clustering = result.clustering ? *result.clustering : nothing;
  const auto add = [&](std::string name, double value) {
    if (!clustering.reason.empty()) value = std::nan("");
    values.push_back(known_or(std::move(name), value, clustering.reason));
  };
  if (result.choice.wants_nmi) {
    add("NMI", clustering.agreement.nmi_arithmetic);
    add("NMI-geometric", clustering.agreement.nmi_geometric);
  }
  if (result.choice.wants_ami) {
    add("AMI", clustering.agreement.ami_arithmetic);
    add("AMI-geometric", clustering.agreement.ami_geometric);
  }
}

void add_verification(const EvaluationResult& result, std::vector<MetricValue>& values) {
  const Verification nothing;
  const Verification& pairs = result.verification ? *result.verification : nothing;
  // Pairs of a query and a gallery picture: others of the same classes may well be there.
  const std::string no_pairs = pairs.positives + pairs.negatives == 0
                                   ? "there are no pairs to compare"
                               : pairs.positives == 0 ? "no pair to compare is of one class"
                               : pairs.negatives == 0 ? "no pair to compare is of two classes"
                                                      : "";
  for (std::size_t i = 0; i < result.choice.tar_at.size(); ++i) {
    const RocPoint point = i < pairs.points.size() ? pairs.points[i] : RocPoint{};
    std::string reason = no_pairs;
    if (reason.empty() && !point.is_known)
      reason = fmt::format("{} pairs of different classes cannot tell such a rate",
                           human_count(pairs.negatives));
    values.push_back(known_or(tar_name(result.choice.tar_at[i]),
                              reason.empty() ? point.tar : std::nan(""), reason));
  }
  if (result.choice.wants_auc)
    values.push_back(known_or("AUC", no_pairs.empty() ? pairs.auc : std::nan(""), no_pairs));
}

Json to_json(const Clustering& clustering) {
  return Json::object({{"clusters", clustering.options.clusters},
                       {"restarts", clustering.options.restarts},
                       {"seed", static_cast<std::int64_t>(clustering.options.seed)},
                       {"iterations", clustering.iterations},
                       {"inertia", clustering.inertia}});
}

Json to_json(const Verification& verification) {
  Json record = Json::object({{"positive_pairs", verification.positives},
                              {"negative_pairs", verification.negatives},
                              {"auc_error", verification.auc_error}});
  std::vector<Json> points;
  for (const RocPoint& point : verification.points)
    if (point.is_known)
      points.push_back(Json::object({{"far_target", point.far_target},
                                     {"far", point.far},
                                     {"tar", point.tar},
                                     {"threshold", point.threshold}}));
  record["points"] = Json::array(std::move(points));
  return record;
}

}  // namespace

RetrievalOptions with_choice(RetrievalOptions options, const MetricChoice& choice) {
  options.recall_at = choice.recall_at;
  options.precision_at = choice.precision_at;
  options.ndcg_at = choice.ndcg_at;
  options.wants_map = choice.wants_map;
  return options;
}

EvaluationResult measure(const Tensor& embeddings, std::span<const std::int32_t> labels,
                         const RetrievalOptions& options, const MetricChoice& choice) {
  EvaluationResult result{.choice = choice};
  result.retrieval = evaluate_retrieval(embeddings, labels, with_choice(options, choice));
  if (choice.wants_clustering()) result.clustering = cluster(embeddings, labels, options.distance);
  if (choice.wants_verification())
    result.verification = verify(embeddings, labels, options, choice.tar_at);
  return result;
}

Evaluation evaluate_embeddings(const Dataset& dataset, Embeddings embeddings,
                               const MetricChoice& choice) {
  Evaluation evaluation{.embeddings = std::move(embeddings)};
  const Embeddings& found = evaluation.embeddings;
  evaluation.options = with_choice(retrieval_options(dataset, found), choice);
  evaluation.result = measure(found.values, found.labels, evaluation.options, choice);
  return evaluation;
}

Evaluation evaluate(const Dataset& dataset, const EmbeddingFunction& function,
                    const EmbedOptions& embed_options, const MetricChoice& choice) {
  return evaluate_embeddings(dataset, embed(dataset, function, embed_options), choice);
}

Evaluation evaluate_pixels(const Dataset& dataset, const EmbedOptions& embed_options,
                           const MetricChoice& choice) {
  return evaluate_embeddings(dataset, embed_pixels(dataset, embed_options), choice);
}

std::vector<MetricValue> metric_values(const EvaluationResult& result) {
  const RetrievalResult& retrieval = result.retrieval;
  RetrievalValues found(retrieval);
  for (const RecallAtK& at : retrieval.recall_at) found.add("R@" + std::to_string(at.k), at.recall);
  found.add("MAP@R", retrieval.map_at_r);
  found.add("RP", retrieval.r_precision);
  found.add("P", result.choice.precision_at, retrieval.precision_at);
  if (result.choice.wants_map) found.add("mAP", retrieval.map.value_or(0));
  if (result.choice.wants_mrr) found.add("MRR", retrieval.mrr);
  found.add("nDCG", result.choice.ndcg_at, retrieval.ndcg_at);
  add_clustering(result, found.values);
  add_verification(result, found.values);
  return std::move(found.values);
}

std::vector<std::string> metric_names(const MetricChoice& choice) {
  EvaluationResult nothing{.choice = choice};
  for (const std::int64_t k : choice.recall_at) nothing.retrieval.recall_at.push_back({.k = k});
  std::vector<std::string> names;
  for (const MetricValue& metric : metric_values(nothing)) names.push_back(metric.name);
  return names;
}

std::string tar_name(double far) {
  const auto power = std::lround(std::log10(far));
  const bool is_power = std::abs(std::pow(10.0, static_cast<double>(power)) / far - 1) < 1e-9;
  return "TAR@" + (is_power ? fmt::format("1e{}", power) : shortest(far));
}

Json to_json(const EvaluationResult& result) {
  Json record = Json::object();
  add_metrics(record, metric_values(result));
  record["queries"] = result.retrieval.queries;
  record["queries_without_match"] = result.retrieval.queries_without_match;
  record["gallery"] = result.retrieval.gallery;
  if (result.clustering && result.clustering->reason.empty())
    record["clustering"] = to_json(*result.clustering);
  if (result.verification && result.verification->positives > 0 &&
      result.verification->negatives > 0)
    record["verification"] = to_json(*result.verification);
  return record;
}

}  // namespace proxent
