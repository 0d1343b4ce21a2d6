#include "train/result_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include "data/csv_table.h"
#include "tensor/check.h"
#include "train/provenance.h"
#include "train/table.h"
#include "train/terminal.h"
#include "train/text.h"

namespace proxent {
namespace {

std::string percent(double share) {
  return std::isfinite(share) ? fmt::format("{:.2f}", 100 * share) : "-";
}
std::string percent(const std::optional<double>& share) { return share ? percent(*share) : "-"; }

std::string interval_text(const Statistic& value) {
  if (!value.half_width || !std::isfinite(value.mean)) return "-";
  return percent(value.mean - *value.half_width) + " .. " + percent(value.mean + *value.half_width);
}

std::string cell_text(const Statistic& value, std::string_view plus_minus) {
  if (!value.half_width || !std::isfinite(value.mean)) return percent(value.mean);
  return fmt::format("{} {} {} ({})", percent(value.mean), plus_minus, percent(*value.half_width),
                     percent(value.deviation));
}

std::string legend(const ResultTable& table, std::string_view plus_minus) {
  bool has_one = false, has_several = false;
  for (const ResultRow& row : table.rows) (row.seeds.size() == 1 ? has_one : has_several) = true;
  std::string text = "In percent";
  if (has_several)
    text += fmt::format(
        ": mean {} half of the 95 % interval (Student's t, n - 1 degrees of freedom), in brackets "
        "the standard deviation",
        plus_minus);
  if (has_one) text += fmt::format("{} n=1: one run, no interval", has_several ? ";" : ".");
  return text + ".";
}

// How each row came about; once where all agree.
std::vector<std::string> provenance_lines(const ResultTable& table) {
  bool is_one = true;
  for (const ResultRow& row : table.rows)
    is_one = is_one && row.provenance == table.rows[0].provenance;
  std::vector<std::string> lines;
  for (const ResultRow& row : table.rows) {
    lines.push_back(is_one ? row.provenance : row.name + ": " + row.provenance);
    if (is_one) break;
  }
  return lines;
}

// Why there is no value, once for the metrics of a row that lack it for one reason.
std::vector<std::string> reason_lines(const ResultTable& table) {
  std::vector<std::string> lines;
  for (const ResultRow& row : table.rows) {
    std::map<std::string, std::vector<std::string>> metrics;
    for (std::size_t i = 0; i < table.metrics.size(); ++i)
      if (std::string reason = row.reason(i); !reason.empty())
        metrics[std::move(reason)].push_back(table.metrics[i]);
    for (const auto& [reason, names] : metrics)
      lines.push_back("no value for " + join(names, ", ") +
                      (table.rows.size() > 1 ? " of " + row.name : "") + ": " + reason);
  }
  return lines;
}

// What stands below a table of any format.
std::vector<std::string> notes(const ResultTable& table) {
  std::vector<std::string> lines = provenance_lines(table);
  std::ranges::move(reason_lines(table), std::back_inserter(lines));
  return lines;
}

std::string latex_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("&%$#_{}").find(c) != std::string_view::npos) escaped += '\\';
    if (c == '\\' || c == '~' || c == '^')
      escaped += c == '\\' ? "\\textbackslash{}" : fmt::format("\\{}{{}}", c);
    else
      escaped += c;
  }
  return escaped;
}

// A bar would end the cell.
std::string markdown_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return escaped;
}

}  // namespace

void ResultRow::add(std::int64_t seed, const std::vector<MetricValue>& metrics) {
  seeds.push_back(seed);
  values.resize(metrics.size());
  reasons.resize(metrics.size());
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    values[i].push_back(metrics[i].value);
    if (!metrics[i].is_known()) reasons[i][metrics[i].reason].push_back(seed);
  }
}

std::string ResultRow::reason(std::size_t metric) const {
  std::vector<std::string> texts;
  if (metric < reasons.size())
    for (const auto& [reason, of_seeds] : reasons[metric])
      texts.push_back(reason + " (" + seeds_text(of_seeds) + ")");
  return join(texts, "; ");
}

std::string terminal_text(const ResultTable& table, int width) {
  Table box(table.title);
  box.head({"", "metric", "n", "mean", "sd", "95 % interval"});
  for (std::size_t column = 2; column < 6; ++column) box.align_right(column);
  for (const ResultRow& row : table.rows) {
    if (&row != &table.rows.front()) box.line();
    for (std::size_t i = 0; i < table.metrics.size(); ++i) {
      const Statistic value = row.statistic(i);
      box.row({i == 0 ? row.name : "", table.metrics[i],
               (value.n == 1 ? "n=" : "") + std::to_string(value.n), percent(value.mean),
               percent(value.deviation), interval_text(value)});
    }
  }
  std::string text = box.text(width);
  for (const std::string& line : notes(table)) text += join(wrap(line, width), "\n") + "\n";
  return text;
}

std::string to_markdown(const ResultTable& table) {
  std::string head = "| |", rule = "|---|";
  head += " n |";
  rule += "---:|";
  for (const std::string& metric : table.metrics) {
    head += " " + metric + " |";
    rule += "---:|";
  }
  std::string text = head + "\n" + rule + "\n";
  for (const ResultRow& row : table.rows) {
    text += fmt::format("| {} | {} |", markdown_escaped(row.name), row.seeds.size());
    for (std::size_t i = 0; i < table.metrics.size(); ++i)
      text += " " + cell_text(row.statistic(i), "±") + " |";
    text += "\n";
  }
  text += "\n" + legend(table, "±") + "\n\n";
  for (const std::string& line : notes(table)) text += "- " + line + "\n";
  return text;
}

std::string to_latex(const ResultTable& table) {
  std::string text = "% \\usepackage{booktabs}\n\\begin{table}\n  \\centering\n  \\caption{" +
                     latex_escaped(table.title + ". ") + latex_escaped(legend(table, "+-"));
  for (const std::string& line : notes(table)) text += " " + latex_escaped(line) + ".";
  text += fmt::format("}}\n  \\begin{{tabular}}{{lr{}}}\n    \\toprule\n    & n",
                      std::string(table.metrics.size(), 'r'));
  for (const std::string& metric : table.metrics) text += " & " + latex_escaped(metric);
  text += " \\\\\n    \\midrule\n";
  for (const ResultRow& row : table.rows) {
    text += fmt::format("    {} & {}", latex_escaped(row.name), row.seeds.size());
    for (std::size_t i = 0; i < table.metrics.size(); ++i)
      text += " & " + cell_text(row.statistic(i), "$\\pm$");
    text += " \\\\\n";
  }
  return text + "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n";
}

std::string to_csv(const ResultTable& table) {
  const auto number = [](double value) { return std::isfinite(value) ? shortest(value) : ""; };
  std::string text = "row,metric,n,mean,sd,low,high,seeds,provenance,reason\n";
  for (const ResultRow& row : table.rows)
    for (std::size_t i = 0; i < table.metrics.size(); ++i) {
      const Statistic value = row.statistic(i);
      text += fmt::format("{},{},{},{}", csv_field(row.name), csv_field(table.metrics[i]), value.n,
                          number(value.mean));
      if (value.half_width)
        text += fmt::format(",{},{},{}", number(*value.deviation),
                            number(value.mean - *value.half_width),
                            number(value.mean + *value.half_width));
      else
        text += ",,,";
      text += "," + csv_field(seeds_text(row.seeds)) + "," + csv_field(row.provenance) + "," +
              csv_field(row.reason(i)) + "\n";
    }
  return text;
}

Json to_json(const ResultTable& table) {
  Json rows = Json::array();
  for (const ResultRow& row : table.rows) {
    Json metrics = Json::object();
    for (std::size_t i = 0; i < table.metrics.size(); ++i) {
      const Statistic value = row.statistic(i);
      Json entry = Json::object({{"n", value.n}, {"mean", value.mean}});
      entry["sd"] = value.deviation ? Json(*value.deviation) : Json();
      entry["low"] = value.half_width ? Json(value.mean - *value.half_width) : Json();
      entry["high"] = value.half_width ? Json(value.mean + *value.half_width) : Json();
      entry["values"] = Json::array({row.values[i].begin(), row.values[i].end()});
      if (const std::string reason = row.reason(i); !reason.empty()) entry["reason"] = reason;
      metrics[table.metrics[i]] = entry;
    }
    rows.push_back(Json::object({{"name", row.name},
                                 {"provenance", row.provenance},
                                 {"seeds", Json::array({row.seeds.begin(), row.seeds.end()})},
                                 {"metrics", metrics}}));
  }
  return Json::object({{"title", table.title}, {"rows", rows}});
}

std::string formatted(const ResultTable& table, std::string_view format) {
  if (format == "md") return to_markdown(table);
  if (format == "tex") return to_latex(table);
  if (format == "csv") return to_csv(table);
  check<UsageError>(format == "json", "table: expected md, tex, csv or json, got '", format, "'");
  return to_json(table).text(2) + "\n";
}

}  // namespace proxent
