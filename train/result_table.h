// Tables of results: rows of settings, columns of metrics, each cell the mean over seeds with its
// spread; for the terminal, Markdown, LaTeX, CSV and JSON.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "train/json.h"
#include "train/metric_value.h"
#include "train/statistics.h"

namespace proxent {

struct ResultRow {
  std::string name;
  std::string provenance;                   // see train/provenance.h
  std::vector<std::int64_t> seeds;          // n of them
  std::vector<std::vector<double>> values;  // [metric][seed], as shares; NaN: could not be computed
  // [metric]: why some could not, and the seeds of each reason.
  std::vector<std::map<std::string, std::vector<std::int64_t>>> reasons = {};

  // The metrics of one more seed, of every seed the same ones.
  void add(std::int64_t seed, const std::vector<MetricValue>& metrics);
  // "there is one class only (seeds 1-3)"; empty where all have a value.
  std::string reason(std::size_t metric) const;
  Statistic statistic(std::size_t metric) const { return statistic_of(values[metric]); }
};

struct ResultTable {
  std::string title;
  std::vector<std::string> metrics;  // "R@1", ... of every row
  std::vector<ResultRow> rows;
};

// One line per row and metric: n, mean, standard deviation, 95 % interval, in percent; below them
// how each row came about, and why a metric has no value.
std::string terminal_text(const ResultTable& table, int width);
// One line per row, a cell "61.44 ± 0.50 (0.31)" per metric: mean, half of the 95 % interval,
// standard deviation, in percent; for n = 1 the value alone. A caption says so, and how each row
// came about. LaTeX needs the package booktabs.
std::string to_markdown(const ResultTable& table);
std::string to_latex(const ResultTable& table);
// row,metric,n,mean,sd,low,high,seeds,provenance,reason: shares with all their digits, empty where
// there is nothing, and then why.
std::string to_csv(const ResultTable& table);
// {"title", "rows": [{"name", "provenance", "seeds", "metrics": {"R@1": {"n", "mean", "sd", "low",
// "high", "values", "reason"}}}]}: shares, null where there is nothing; "reason" only then.
Json to_json(const ResultTable& table);

// The same under a name: md, tex, csv or json. UsageError for another.
std::string formatted(const ResultTable& table, std::string_view format);

}  // namespace proxent
