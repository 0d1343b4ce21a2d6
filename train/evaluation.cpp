#include "train/evaluation.h"

namespace proxent {
namespace {

Evaluation rank(const Dataset& dataset, Embeddings embeddings,
                const std::vector<std::int64_t>& recall_at) {
  Evaluation evaluation{.embeddings = std::move(embeddings)};
  evaluation.options = retrieval_options(dataset, evaluation.embeddings, {.recall_at = recall_at});
  evaluation.result = evaluate_retrieval(evaluation.embeddings.values, evaluation.embeddings.labels,
                                         evaluation.options);
  return evaluation;
}

}  // namespace

Evaluation evaluate(const Dataset& dataset, const EmbeddingFunction& function,
                    const EmbedOptions& embed_options, const std::vector<std::int64_t>& recall_at) {
  return rank(dataset, embed(dataset, function, embed_options), recall_at);
}

Evaluation evaluate_pixels(const Dataset& dataset, const EmbedOptions& embed_options,
                           const std::vector<std::int64_t>& recall_at) {
  return rank(dataset, embed_pixels(dataset, embed_options), recall_at);
}

std::vector<std::pair<std::string, double>> metric_values(const RetrievalResult& result) {
  std::vector<std::pair<std::string, double>> values;
  for (const RecallAtK& at : result.recall_at)
    values.emplace_back("R@" + std::to_string(at.k), at.recall);
  values.emplace_back("MAP@R", result.map_at_r);
  values.emplace_back("RP", result.r_precision);
  return values;
}

std::vector<std::string> metric_names(const std::vector<std::int64_t>& recall_at) {
  RetrievalResult nothing;
  for (std::int64_t k : recall_at) nothing.recall_at.push_back({.k = k});
  std::vector<std::string> names;
  for (const auto& [name, value] : metric_values(nothing)) names.push_back(name);
  return names;
}

Json to_json(const RetrievalResult& result) {
  Json record = Json::object();
  for (const auto& [name, value] : metric_values(result)) record[name] = value;
  record["queries"] = result.queries;
  record["queries_without_match"] = result.queries_without_match;
  record["gallery"] = result.gallery;
  return record;
}

}  // namespace proxent
