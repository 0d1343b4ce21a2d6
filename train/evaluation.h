// One look at a data set: its embeddings, how they were ranked, and what came out under the names
// of the configuration.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "train/config.h"
#include "train/embed.h"
#include "train/json.h"
#include "train/retrieval.h"

namespace proxent {

struct Evaluation {
  Embeddings embeddings;
  RetrievalOptions options;
  RetrievalResult result;
};

// Embeds the data set and ranks it; `recall_at` lists the K of Recall@K, 1 among them.
Evaluation evaluate(const Dataset& dataset, const EmbeddingFunction& function,
                    const EmbedOptions& embed_options, const std::vector<std::int64_t>& recall_at);
// The same of plain pixels, the floor that a trained network must beat.
Evaluation evaluate_pixels(const Dataset& dataset, const EmbedOptions& embed_options,
                           const std::vector<std::int64_t>& recall_at);

// "R@1", "R@2", ... "MAP@R", "RP" and their values, as shares, in the order of every table and log.
std::vector<std::pair<std::string, double>> metric_values(const RetrievalResult& result);
// Their names for an evaluation at these K.
std::vector<std::string> metric_names(const std::vector<std::int64_t>& recall_at);
// Values and counts, for run.json.
Json to_json(const RetrievalResult& result);

}  // namespace proxent
