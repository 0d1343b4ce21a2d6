#include "train/metric_value.h"

#include <fmt/format.h>

namespace proxent {

std::string percent_text(const MetricValue& metric) {
  return metric.is_known() ? fmt::format("{:.2f}", 100 * metric.value) : "-";
}

void add_metrics(Json& record, const std::vector<MetricValue>& metrics) {
  Json reasons;
  for (const MetricValue& metric : metrics) {
    record[metric.name] = metric.is_known() ? Json(metric.value) : Json();
    if (!metric.reason.empty()) reasons[metric.name] = metric.reason;
  }
  if (!reasons.is_null()) record["reasons"] = reasons;
}

}  // namespace proxent
