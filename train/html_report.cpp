#include "train/html_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "data/image.h"
#include "train/config_table.h"
#include "train/evaluation.h"
#include "train/finished_run.h"
#include "train/html.h"
#include "train/input_file.h"
#include "train/json.h"
#include "train/metric_choice.h"
#include "train/plot.h"
#include "train/run_folder.h"
#include "train/scalars.h"
#include "train/text.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

using Points = std::vector<std::pair<double, double>>;

struct Run {
  fs::path folder;
  std::string name;  // of the folder
  Json record;       // run.json
  Config config;
  std::map<std::string, Points> curves;  // over steps, by the tags of train/scalars.h
};

// A line that cannot be read is left out: a run that is under way may be writing it.
void add_curves(const fs::path& log, Scalars (*scalars_of)(const Json&),
                std::map<std::string, Points>& curves) {
  std::ifstream file(log);
  for (std::string text; std::getline(file, text);) {
    const std::optional<Json> line = parse_json(text);
    const Json* step = line ? line->find("step") : nullptr;
    if (!step || !step->number()) continue;
    for (const auto& [tag, value] : scalars_of(*line))
      if (std::isfinite(value)) curves[tag].emplace_back(*step->number(), value);
  }
}

Run read_run(const fs::path& folder) {
  Run run{.folder = folder,
          .name = fs::absolute(folder / "").parent_path().filename().string(),
          .record = record_of_run(folder),
          .config = config_of_run(folder)};
  add_curves(folder / "train.jsonl", scalars_of_step, run.curves);
  add_curves(folder / "eval.jsonl", scalars_of_eval, run.curves);
  return run;
}

std::string text_of(const Json& record, std::string_view key) {
  const Json* value = record.find(key);
  return value && !value->is_null() ? html_escaped(value->plain()) : "";
}

std::string section(std::string_view title, const std::string& html) {
  return html.empty() ? "" : fmt::format("<h2>{}</h2>\n{}", title, html);
}

// ---- results

struct Result {
  const char* member;  // of run.json
  const char* name;
};
constexpr Result kResults[] = {
    {"pixels", "plain pixels"}, {"untrained", "untrained network"}, {"test", "trained"}};

// Every metric that some run was asked for, in the order of the first that has it.
std::vector<std::string> metrics_of(const std::vector<Run>& runs) {
  std::vector<std::string> names;
  for (const Run& run : runs)
    for (const std::string& name : metric_names(metric_choice(run.config.run.metrics)))
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  return names;
}

std::string cell(const MetricValue& metric) {
  if (metric.is_known()) return percent_text(metric);
  return fmt::format("<span title=\"{}\">-</span>", html_escaped(metric.reason));
}

std::string results(const std::vector<Run>& runs) {
  const std::vector<std::string> metrics = metrics_of(runs);
  std::vector<std::string> head = {runs.size() > 1 ? "percent, run" : "percent"};
  std::ranges::copy(metrics, std::back_inserter(head));
  std::vector<std::vector<std::string>> rows;
  for (const Run& run : runs)
    for (const auto& [member, name] : kResults) {
      if (!run.record.find(member)) continue;
      std::vector<std::string> row = {runs.size() > 1 ? html_escaped(run.name) + ": " + name
                                                      : name};
      for (const MetricValue& metric :
           metrics_at(run.record, member, run.folder / "run.json", metrics))
        row.push_back(cell(metric));
      rows.push_back(std::move(row));
    }
  return rows.empty() ? "<p>No test result yet.</p>\n" : html_table(head, rows);
}

// ---- curves

// What one plot shows: curves of these tags without their first part, each with its name in the
// legend. A tag that ends in '/' or '@' stands for all that begin so, named by what follows. Of
// several runs only the first tag's curve is drawn.
struct Panel {
  const char* title;
  std::vector<std::pair<std::string, std::string>> tags;
  bool starts_at_zero = false;
  double scale = 1;
};
const std::vector<Panel> kPanels = {
    {"loss", {{"loss/total", "total"}, {"loss/", ""}}},
    {"Recall@K, percent", {{"R@1", "R@1"}, {"R@", ""}}, false, 100},
    {"MAP@R and R-precision, percent", {{"MAP@R", "MAP@R"}, {"RP", "R-precision"}}, false, 100},
    {"gradient norm", {{"grad_norm", ""}}},
    {"learning rate", {{"lr/backbone", "backbone"}, {"lr/", ""}}, true},
    {"effective rank of the embedding", {{"effective_rank", ""}}, true},
    {"proxies per class",
     {{"proxies/effective_per_class", "effective"}, {"proxies/used_per_class", "used"}},
     true},
    {"proxies and finer labels",
     {{"proxies/purity", "purity"},
      {"proxies/purity_of_one", "purity with one proxy"},
      {"proxies/nmi", "NMI"}}},
    {"pictures per second", {{"img_s", ""}}, true},
    {"milliseconds per step", {{"step_ms", "step"}, {"data_wait_ms", "waiting for data"}}, true},
    {"memory, MiB", {{"process_mib", "process"}, {"mem_mib", "tensors"}}, true},
};

// What the legend calls the curve of `tag` if the panel's tag has it; evaluations are named with
// their split: "val R@1".
std::optional<std::string> name_in(const std::pair<std::string, std::string>& panel_tag,
                                   const std::string& tag) {
  const auto& [pattern, name] = panel_tag;
  const std::size_t slash = tag.find('/');
  const std::string head = tag.substr(0, slash), tail = tag.substr(slash + 1);
  const bool is_prefix = pattern.ends_with('/') || pattern.ends_with('@');
  if (is_prefix ? !tail.starts_with(pattern) : tail != pattern) return std::nullopt;
  const std::string own = !is_prefix               ? name
                          : pattern.ends_with('@') ? tail
                                                   : tail.substr(pattern.size());
  if (head == "train") return own;
  return own.empty() ? head : head + " " + own;
}

Curve scaled(std::string name, Points points, double scale) {
  for (auto& point : points) point.second *= scale;
  return {std::move(name), std::move(points)};
}

std::string plotted(const Panel& panel, const std::vector<Run>& runs) {
  Plot plot{.title = panel.title,
            .x_label = "step",
            .curves = {},
            .starts_at_zero = panel.starts_at_zero};
  for (const Run& run : runs) {
    std::set<std::string> drawn;
    for (const auto& panel_tag : panel.tags)
      for (const auto& [tag, points] : run.curves) {
        const std::optional<std::string> name = name_in(panel_tag, tag);
        if (!name || (runs.size() > 1 && !drawn.empty()) || !drawn.insert(tag).second) continue;
        plot.curves.push_back(scaled(runs.size() > 1 ? run.name : *name, points, panel.scale));
        if (runs.size() > 1 && !name->empty()) plot.title = panel.title + (": " + *name);
      }
  }
  return plot.curves.empty() ? "" : "<figure>" + to_svg(plot) + "</figure>\n";
}

std::string curves(const std::vector<Run>& runs) {
  std::string html;
  for (const Panel& panel : kPanels) html += plotted(panel, runs);
  return html.empty() ? "" : "<div class=\"plots\">\n" + html + "</div>\n";
}

// ---- one run

std::string found_pictures(const Run& run) {
  const fs::path picture = run.folder / kRetrievalFile;
  if (!fs::exists(picture)) return "";
  return fmt::format(
      "<p>Each row is a query and its nearest pictures, right ones framed green, wrong ones "
      "red.</p>\n<img alt=\"queries and what they found\" src=\"{}\">\n",
      data_url("image/png", read_file(picture)));
}

std::string number_text(double value) {
  return value == std::round(value) ? human_count(std::llround(value)) : rounded(value);
}

// Numbers in a row each; what there is of every class, most first, folded away.
std::string proxies(const Run& run) {
  const Json* record = run.record.find("proxies");
  if (!record || !record->is_object()) return "";
  std::vector<std::vector<std::string>> numbers;
  std::string folded;
  for (const auto& [name, value] : record->members()) {
    std::string title = html_escaped(name);
    std::ranges::replace(title, '_', ' ');
    if (const auto number = value.number()) numbers.push_back({title, number_text(*number)});
    if (!value.is_object() || !name.ends_with("_of_class")) continue;
    std::vector<std::pair<double, std::string>> classes;
    for (const auto& [label, of_class] : value.members())
      if (const auto number = of_class.number()) classes.emplace_back(-*number, label);
    std::ranges::sort(classes);
    std::vector<std::vector<std::string>> rows;
    for (const auto& [negative, label] : classes)
      rows.push_back({html_escaped(label), number_text(-negative)});
    folded += html_details(title, html_table({"class", title}, rows));
  }
  return html_table({}, numbers) + folded;
}

std::string settings(const Run& run) {
  ConfigTable table(run.config);
  const auto code = [](const std::string& text) {
    return "<pre>" + html_escaped(text) + "</pre>\n";
  };
  return code(to_toml(table.settings(), TomlStyle::changed)) +
         html_details("all settings", code(to_toml(run.config)));
}

std::string bad_pictures(const Run& run) {
  const Json* bad = run.record.find("bad_images");
  const Json* reasons = bad ? bad->find("reasons") : nullptr;
  const Json* count = bad ? bad->find("count") : nullptr;
  if (!reasons || !count || count->number().value_or(0) == 0) return "";
  return "<pre>" + html_escaped(reasons->text(2)) + "</pre>\n";
}

// What made the run, a row for each part.
std::string origin(const Run& run) {
  std::vector<std::vector<std::string>> rows;
  for (const char* key : {"status", "reason", "started", "changed", "device"})
    if (std::string text = text_of(run.record, key); !text.empty()) rows.push_back({key, text});
  for (const char* key : {"data", "build"}) {
    const Json* part = run.record.find(key);
    if (!part || !part->is_object()) continue;
    for (const auto& [name, value] : part->members()) {
      std::string title = html_escaped(name);
      std::ranges::replace(title, '_', ' ');
      if (!value.is_null()) rows.push_back({title, html_escaped(value.plain())});
    }
  }
  const fs::path command = run.folder / "cmdline.txt";
  if (fs::exists(command))
    rows.push_back({"commands", "<pre>" + html_escaped(read_text(command)) + "</pre>"});
  return html_table({}, rows);
}

std::string about(const Run& run, bool is_alone) {
  const std::string provenance = text_of(run.record, "provenance");
  return (is_alone ? "" : "<h1>" + html_escaped(run.name) + "</h1>\n") +
         (provenance.empty() ? "" : "<p>" + provenance + "</p>\n") +
         section("Queries and what they found", found_pictures(run)) +
         section("Proxies", proxies(run)) +
         section("Settings other than the defaults", settings(run)) +
         section("Pictures that could not be read", bad_pictures(run)) +
         section("How it came about", origin(run));
}

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; }
body { font: 15px/1.5 sans-serif; margin: 2rem auto; max-width: 1160px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-top: 2.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; vertical-align: top; }
th:first-child { text-align: left; font-weight: 500; }
tr { border-bottom: 1px solid #8884; }
.about td { text-align: left; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 1rem; }
figure { margin: 0; } svg { width: 100%; height: auto; }
img { max-width: 100%; image-rendering: auto; background: white; }
pre { overflow-x: auto; font-size: 13px; margin: 0; white-space: pre-wrap; }
summary { cursor: pointer; margin: .4rem 0; }
)";

}  // namespace

std::string html_report(const std::vector<fs::path>& folders) {
  std::vector<Run> runs;
  for (const fs::path& folder : folders) runs.push_back(read_run(folder));
  check<UsageError>(!runs.empty(), "report: no run to make a page of");
  const std::string title =
      runs.size() == 1 ? runs[0].name : counted(std::ssize(runs), "run", "runs");
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
      "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n"
      "<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
      html_escaped(title), kStyle);
  html += results(runs) + section("Curves", curves(runs));
  for (const Run& run : runs)
    html += "<div class=\"about\">\n" + about(run, runs.size() == 1) + "</div>\n";
  return html + "</body>\n</html>\n";
}

}  // namespace proxent
