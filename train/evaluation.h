// One look at a data set: its embeddings, what was measured on them, and what came out under the
// names of the configuration.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/clustering.h"
#include "train/embed.h"
#include "train/json.h"
#include "train/metric_choice.h"
#include "train/metric_value.h"
#include "train/retrieval.h"
#include "train/verification.h"

namespace proxent {

// k-means with as many clusters as there are classes, beside the classes.
struct Clustering {
  KMeansOptions options = {};
  std::int64_t iterations = 0;  // of the restart that counts
  double inertia = 0;
  PartitionAgreement agreement = {};
  std::string reason = {};  // why nothing was clustered
};

struct EvaluationResult {
  MetricChoice choice = {};
  RetrievalResult retrieval = {};
  std::optional<Clustering> clustering = {};  // where the choice asks for them
  std::optional<Verification> verification = {};
};

struct Evaluation {
  Embeddings embeddings;
  RetrievalOptions options;  // with the K of the choice
  EvaluationResult result;
};

// Measures what is chosen on embeddings. The clusters are of all rows, of length one where the
// distance is the cosine. Throws what evaluate_retrieval does.
EvaluationResult measure(const Tensor& embeddings, std::span<const std::int32_t> labels,
                         const RetrievalOptions& options, const MetricChoice& choice);
// `options` with the K and the ranking metrics of the choice.
RetrievalOptions with_choice(RetrievalOptions options, const MetricChoice& choice);

// Embeds the data set and measures.
Evaluation evaluate(const Dataset& dataset, const EmbeddingFunction& function,
                    const EmbedOptions& embed_options, const MetricChoice& choice);
// Measures what embed returned for the data set.
Evaluation evaluate_embeddings(const Dataset& dataset, Embeddings embeddings,
                               const MetricChoice& choice);
// The same of plain pixels, the floor that a trained network must beat.
Evaluation evaluate_pixels(const Dataset& dataset, const EmbedOptions& embed_options,
                           const MetricChoice& choice);

// "R@1", "R@2", ... "MAP@R", "RP", then what else was chosen: as shares, in the order of every
// table and log. A metric that the data cannot give (one class, no match, too few pairs) has no
// value but a reason.
std::vector<MetricValue> metric_values(const EvaluationResult& result);
// Their names.
std::vector<std::string> metric_names(const MetricChoice& choice);
// "TAR@1e-3"
std::string tar_name(double far);
// Values and counts, for run.json.
Json to_json(const EvaluationResult& result);

}  // namespace proxent
