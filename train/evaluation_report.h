// What proxent eval tells: one table for a person, one object for a program.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/breakdown.h"
#include "train/diagnostics.h"
#include "train/evaluation.h"
#include "train/few_shot.h"
#include "train/proxy_diagnostics.h"
#include "train/selection.h"

namespace proxent {

// The same pictures ranked in another way, reported beside the plain scores and never instead.
struct VariantResult {
  std::string name;         // "flip", "expanded", "re-ranked"
  std::string description;  // "k-reciprocal, k1 = 20, k2 = 6, ..."
  EvaluationResult result;
};

struct EvaluationReport {
  std::string subject;                      // "5924 pictures of 100 classes, test"
  std::optional<Selection> selection = {};  // of the weights, where there are any
  EvaluationResult plain = {};
  std::vector<VariantResult> variants = {};
  std::optional<EmbeddingDiagnostics> diagnostics = {};
  std::int64_t features = 0;
  Distance distance = Distance::cosine;
  std::vector<PartRecall> classes = {},
                          categories = {};  // the worst first; categories may be empty
  std::optional<ProxyDiagnostics> proxies = {};
};

// Adds how the embeddings fill their space, null with a reason where there is no number; nothing:
// of pixels, of which it is not computed.
void add_diagnostics(Json& record, const std::optional<EmbeddingDiagnostics>& diagnostics);

// The part of it that every evaluation of a training run affords.
void add_spread(Json& record, const EmbeddingSpread& spread);

// A table with a column per variant; then what was counted, how the variants were made, and tables
// of the ten worst classes, of all categories and of the spectrum; then the proxies. Lines of at
// most `width` columns.
std::string report_text(const EvaluationReport& report, int width);
// Everything that the text shows, and every class. Besides, where they were computed:
//   "spectrum"  share of the variance along each direction, falling
//   "roc"       {"far": [...], "tar": [...], "threshold": [...]}: Verification::curve; without a
//               threshold where nothing is accepted
Json to_json(const EvaluationReport& report);

std::string report_text(const std::vector<FewShotResult>& results, const std::string& subject,
                        std::optional<Selection> selection, int width);
// [{"way": 5, "shots": 1, ..., "accuracy": 0.66, "interval": 0.004}, ...]
Json to_json(const std::vector<FewShotResult>& results);

}  // namespace proxent
