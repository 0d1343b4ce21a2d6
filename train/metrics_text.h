// The one way results of retrieval are written, so that a number never stands without how its
// checkpoint was chosen.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "train/metric_value.h"
#include "train/retrieval.h"
#include "train/selection.h"

namespace proxent {

// "R@1 61.44 R@2 72.90 | MAP@R 21.30 RP 32.00 | test-selected", in percent; without the last part
// where nothing was chosen. A metric without a value is "-", with its reason behind all; where none
// has one the reason stands alone: "no query has a match".
std::string metrics_text(const std::vector<MetricValue>& metrics,
                         std::optional<Selection> selection = std::nullopt);
// Of Recall@K, MAP@R and R-precision.
std::string metrics_text(const RetrievalResult& result,
                         std::optional<Selection> selection = std::nullopt);
// What was counted: "5924 queries, gallery 5924, 3 queries without a match skipped, 2 ties at
// R@1"; ties and skipped ones only where there are any.
std::string counts_text(const RetrievalResult& result);

// What every number means and how the borders are handled, for a person (eval --explain).
std::string_view metrics_explanation();

}  // namespace proxent
