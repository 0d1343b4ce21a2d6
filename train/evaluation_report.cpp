#include "train/evaluation_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "train/metrics_text.h"
#include "train/table.h"
#include "train/text.h"

namespace proxent {
namespace {

constexpr std::size_t kWorstClasses = 10;
constexpr std::string_view kNoEmbeddings = "there are no embeddings",
                           kNoPair = "no class has two pictures",
                           kOneClass = "there is one class only",
                           kEqualMeans = "the means of all classes are equal",
                           kOnePicture = "there is one picture only",
                           kNotOfPixels = "not computed of plain pixels";

std::string titled(const std::string& subject, std::optional<Selection> selection) {
  return subject + (selection ? ", " + std::string(name_of(*selection)) : "");
}

// What stands beside a metric: why it has no value, or how it came about.
std::string note_on(const MetricValue& metric, const EvaluationReport& report) {
  if (!metric.is_known()) return metric.reason;
  const EvaluationResult& plain = report.plain;
  for (const RecallAtK& at : plain.retrieval.recall_at)
    if (metric.name == "R@" + std::to_string(at.k))
      return at.ties > 0 ? counted(at.ties, "tie", "ties") : "";
  if (plain.clustering && (metric.name == "NMI" || metric.name == "AMI")) {
    const Clustering& clustering = *plain.clustering;
    return fmt::format("k-means++, k = {}, best of {} starts, seed {}", clustering.options.clusters,
                       clustering.options.restarts, clustering.options.seed);
  }
  if (!plain.verification) return "";
  if (metric.name == "AUC")
    return human_count(plain.verification->positives) + " pairs of one class, " +
           human_count(plain.verification->negatives) + " of two";
  for (const RocPoint& point : plain.verification->points)
    if (metric.name == tar_name(point.far_target))
      return report.distance == Distance::cosine ? "cosine at least " + rounded(point.threshold)
                                                 : "distance at most " + rounded(-point.threshold);
  return "";
}

// Retrieval, clusters and pairs are set apart.
int kind_of(const std::string& name) {
  if (name.starts_with("NMI") || name == "AMI") return 1;
  return name.starts_with("TAR@") || name == "AUC" ? 2 : 0;
}

void add_metric_rows(Table& table, const EvaluationReport& report) {
  const std::vector<MetricValue> metrics = metric_values(report.plain);
  std::vector<std::vector<MetricValue>> others;
  for (const VariantResult& variant : report.variants)
    others.push_back(metric_values(variant.result));
  int kind = 0;
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    const MetricValue& metric = metrics[i];
    if (kind_of(metric.name) != std::exchange(kind, kind_of(metric.name))) table.line();
    std::vector<std::string> cells = {metric.name, percent_text(metric)};
    for (const auto& values : others) {
      const auto same = std::ranges::find(values, metric.name, &MetricValue::name);
      cells.push_back(same == values.end() ? "" : percent_text(*same));
    }
    cells.push_back(note_on(metric, report));
    table.row(std::move(cells));
  }
}

std::string_view reason_without_density(const EmbeddingDiagnostics& diagnostics) {
  if (std::isnan(diagnostics.intra)) return kNoPair;
  return std::isnan(diagnostics.inter) ? kOneClass : kEqualMeans;
}

std::string_view reason_without_rank(const EmbeddingSpread& diagnostics) {
  return std::isnan(diagnostics.standard_deviation) ? kNoEmbeddings : "all embeddings are equal";
}

// One number about the embeddings' geometry, as records and tables name it.
struct GeometryRow {
  std::string_view key, label;
  double value;
  int digits;
  std::string_view note;    // what stands beside it; {0}: features, {1}: 1 / root of them
  std::string_view reason;  // why there is no value, where it is NaN
};

std::vector<GeometryRow> spread_rows(const EmbeddingSpread& s) {
  return {
      {"effective_rank", "effective rank", s.effective_rank, 1, "of {0} features",
       reason_without_rank(s)},
      {"standard_deviation", "std deviation", s.standard_deviation, 4, "{1:.4f} if spread evenly",
       kNoEmbeddings},
  };
}

std::vector<GeometryRow> geometry_rows(const EmbeddingDiagnostics& d) {
  std::vector<GeometryRow> rows = spread_rows(d);
  const std::vector<GeometryRow> of_classes = {
      {"intra", "intra", d.intra, 3, "cosine distance within a class", kNoPair},
      {"inter", "inter", d.inter, 3, "between classes' means", kOneClass},
      {"intra/inter", "intra/inter", d.density(), 3, "density", reason_without_density(d)},
      {"alignment", "alignment", d.alignment, 3, "squared distance within a class", kNoPair},
      {"uniformity", "uniformity", d.uniformity, 3, "lower is more even", kOnePicture},
  };
  rows.insert(rows.end(), of_classes.begin(), of_classes.end());
  return rows;
}

// A value, or null with its reason.
void add_row(Json& record, const GeometryRow& row) {
  record[row.key] = std::isnan(row.value) ? Json() : Json(row.value);
  if (std::isnan(row.value)) record["reasons"][row.key] = row.reason;
}

void add_geometry_rows(Table& table, const EvaluationReport& report) {
  if (!report.diagnostics) return;
  table.line();
  const double even = 1 / std::sqrt(static_cast<double>(report.features));
  for (const GeometryRow& row : geometry_rows(*report.diagnostics)) {
    const bool is_known = !std::isnan(row.value);
    std::vector<std::string> cells = {std::string(row.label)};
    cells.push_back(is_known ? fmt::format("{:.{}f}", row.value, row.digits) : "-");
    cells.resize(2 + report.variants.size());
    cells.push_back(is_known ? fmt::format(fmt::runtime(row.note), report.features, even)
                             : std::string(row.reason));
    table.row(std::move(cells));
  }
}

// How much of the variance lies in the first 1, 2, 4, ... directions.
Table spectrum_table(const std::vector<double>& spectrum) {
  Table table("spectrum");
  table.head({"directions", "variance %"}).align_right(0).align_right(1);
  const std::size_t all = spectrum.size();
  double sum = 0;
  for (std::size_t i = 1, next = 1; i <= all; ++i) {
    sum += spectrum[i - 1];
    if (i != next && i != all) continue;
    table.row({human_count(static_cast<std::int64_t>(i)), fmt::format("{:.2f}", 100 * sum)});
    next *= 2;
  }
  return table;
}

Table part_table(std::string title, const std::vector<PartRecall>& parts, std::size_t most) {
  Table table(std::move(title));
  table.head({"", "R@1", "queries"}).align_right(1).align_right(2);
  for (std::size_t i = 0; i < std::min(most, parts.size()); ++i)
    table.row({parts[i].name, fmt::format("{:.2f}", 100 * parts[i].recall()),
               human_count(parts[i].queries)});
  return table;
}

std::string proxies_text(const std::optional<ProxyDiagnostics>& proxies, int width) {
  if (!proxies) return "";
  std::string line = "proxies: " + to_text(*proxies);
  if (proxies->pictures == 0) line += "; --split train tells how the training pictures use them";
  return join(wrap(line, width), "\n") + "\n";
}

// The points of the curve as columns, which plotting programs take.
Json roc_columns(const std::vector<RocPoint>& curve) {
  Json far = Json::array(), tar = Json::array(), threshold = Json::array();
  for (const RocPoint& point : curve) {
    far.push_back(point.far);
    tar.push_back(point.tar);
    threshold.push_back(std::isfinite(point.threshold) ? Json(point.threshold) : Json());
  }
  return Json::object({{"far", far}, {"tar", tar}, {"threshold", threshold}});
}

// What is too long for a table or a run's record.
void add_curves(Json& record, const EvaluationReport& report) {
  if (report.diagnostics)
    record["spectrum"] =
        Json::array({report.diagnostics->spectrum.begin(), report.diagnostics->spectrum.end()});
  if (report.plain.verification) record["roc"] = roc_columns(report.plain.verification->curve);
}

}  // namespace

void add_diagnostics(Json& record, const std::optional<EmbeddingDiagnostics>& diagnostics) {
  const EmbeddingDiagnostics d = diagnostics.value_or(EmbeddingDiagnostics{});
  for (GeometryRow row : geometry_rows(d)) {
    if (!diagnostics) {
      row.value = std::nan("");
      row.reason = kNotOfPixels;
    }
    add_row(record, row);
  }
}

void add_spread(Json& record, const EmbeddingSpread& spread) {
  for (const GeometryRow& row : spread_rows(spread)) add_row(record, row);
}

std::string report_text(const EvaluationReport& report, int width) {
  Table table(titled(report.subject, report.selection));
  std::vector<std::string> head = {"", report.variants.empty() ? "%" : "plain %"};
  for (const VariantResult& variant : report.variants) head.push_back(variant.name);
  for (std::size_t column = 1; column < head.size(); ++column) table.align_right(column);
  head.emplace_back("");
  table.head(std::move(head));
  add_metric_rows(table, report);
  add_geometry_rows(table, report);
  std::string text = table.text(width) + counts_text(report.plain.retrieval) + "\n";
  if (report.distance == Distance::euclidean) text += "ranked by Euclidean distance\n";
  for (const VariantResult& variant : report.variants)
    text += variant.name + ": " + variant.description + "\n";
  std::vector<Table> parts;
  if (report.classes.size() > 1)
    parts.push_back(part_table(report.classes.size() > kWorstClasses ? "worst classes" : "classes",
                               report.classes, kWorstClasses));
  if (!report.categories.empty())
    parts.push_back(part_table("categories", report.categories, report.categories.size()));
  if (report.diagnostics && !report.diagnostics->spectrum.empty())
    parts.push_back(spectrum_table(report.diagnostics->spectrum));
  if (!parts.empty()) text += Table::beside(parts, width);
  return text + proxies_text(report.proxies, width);
}

Json to_json(const EvaluationReport& report) {
  Json record = to_json(report.plain);
  Json ties = Json::object();
  for (const RecallAtK& at : report.plain.retrieval.recall_at)
    ties["R@" + std::to_string(at.k)] = at.ties;
  record["ties"] = ties;
  record["selection"] = report.selection ? Json(name_of(*report.selection)) : Json();
  record["distance"] = name_of(report.distance);
  record["features"] = report.features;
  add_diagnostics(record, report.diagnostics);
  add_curves(record, report);
  for (const VariantResult& variant : report.variants) {
    Json other = to_json(variant.result);
    other["description"] = variant.description;
    record["variants"][variant.name] = other;
  }
  record["classes"] = to_json(report.classes);
  if (!report.categories.empty()) record["categories"] = to_json(report.categories);
  if (report.proxies) record["proxies"] = to_json(*report.proxies);
  return record;
}

std::string report_text(const std::vector<FewShotResult>& results, const std::string& subject,
                        std::optional<Selection> selection, int width) {
  Table table(titled(subject, selection));
  table.head({"few-shot", "accuracy %", "95 %", ""}).align_right(1).align_right(2);
  for (const FewShotResult& result : results) {
    const FewShotOptions& o = result.options;
    std::string note =
        fmt::format("{}, {} per class, {} classes, seed {}", counted(o.tasks, "task", "tasks"),
                    counted(o.queries, "query", "queries"), result.classes, o.seed);
    if (result.skipped_classes > 0)
      note += fmt::format("; {} with fewer than {} pictures left out",
                          counted(result.skipped_classes, "class", "classes"), o.shots + o.queries);
    table.row({fmt::format("{}-way {}-shot", o.way, o.shots),
               fmt::format("{:.2f}", 100 * result.accuracy),
               std::isnan(result.interval) ? "-" : fmt::format("± {:.2f}", 100 * result.interval),
               std::move(note)});
  }
  return table.text(width);
}

Json to_json(const std::vector<FewShotResult>& results) {
  std::vector<Json> items;
  for (const FewShotResult& result : results) {
    items.push_back(Json::object({{"way", result.options.way},
                                  {"shots", result.options.shots},
                                  {"queries", result.options.queries},
                                  {"tasks", result.options.tasks},
                                  {"seed", static_cast<std::int64_t>(result.options.seed)},
                                  {"accuracy", result.accuracy},
                                  {"interval", result.interval},
                                  {"classes", result.classes},
                                  {"skipped_classes", result.skipped_classes}}));
    if (std::isnan(result.interval))
      items.back()["reasons"]["interval"] = "a single task has no spread";
  }
  return Json::array(std::move(items));
}

}  // namespace proxent
