// One metric as it is reported: a number, or why there is none.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "train/json.h"

namespace proxent {

struct MetricValue {
  std::string name;                                         // "R@1"
  double value = std::numeric_limits<double>::quiet_NaN();  // a share; NaN: there is none
  std::string reason = {};                                  // why; empty where there is a value

  bool is_known() const { return value == value; }
};

// "61.44", in percent; "-" where there is none.
std::string percent_text(const MetricValue& metric);
// Adds a member for each, null where there is no value; the reasons of those stand under "reasons".
void add_metrics(Json& record, const std::vector<MetricValue>& metrics);

}  // namespace proxent
