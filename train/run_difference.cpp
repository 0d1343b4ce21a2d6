#include "train/run_difference.h"

#include <fmt/format.h>

#include <algorithm>

#include "train/evaluation.h"
#include "train/experiment.h"
#include "train/finished_run.h"
#include "train/json.h"
#include "train/metric_choice.h"
#include "train/table.h"
#include "train/text.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

using Facts = std::vector<std::pair<std::string, std::string>>;  // name and value, in order

struct Run {
  fs::path folder;
  Json record;  // run.json
  Config config;

  explicit Run(const fs::path& folder)
      : folder(folder), record(record_of_run(folder)), config(config_of_run(folder)) {}
};

// Where it went, what it was called and what the terminal showed change nothing.
Facts settings_of(const Run& run) {
  Facts facts;
  for (const SettingValue& setting : setting_values(run.config))
    if (!setting.name.starts_with("log.") && setting.name != "run.out" &&
        setting.name != "run.name" && setting.name != "run.resume")
      facts.emplace_back(setting.name, setting.toml);
  return facts;
}

void add_facts(const std::string& name, const Json& json, Facts& facts) {
  if (json.is_object())
    for (const auto& [key, value] : json.members()) add_facts(name + "." + key, value, facts);
  else if (!json.is_null())
    facts.emplace_back(name, json.plain());
}

// What the run was made of besides its settings.
Facts circumstances_of(const Run& run) {
  Facts facts;
  for (const char* part : {"data", "build", "device"})
    if (const Json* value = run.record.find(part)) add_facts(part, *value, facts);
  return facts;
}

std::string value_in(const Facts& facts, const std::string& name) {
  const auto found = std::ranges::find(facts, name, &Facts::value_type::first);
  return found == facts.end() ? "-" : found->second;
}

// A row for each name that either has with another value; nothing where all are equal.
std::string differing(const std::string& title, const Facts& a, const Facts& b, int width) {
  Facts all = a;
  for (const auto& fact : b)
    if (std::ranges::find(a, fact.first, &Facts::value_type::first) == a.end()) all.push_back(fact);
  Table table(title);
  table.head({"", "first", "second"});
  bool is_empty = true;
  for (const auto& [name, ignored] : all) {
    const std::string first = value_in(a, name), second = value_in(b, name);
    if (first == second) continue;
    table.row({name, first, second});
    is_empty = false;
  }
  return is_empty ? title + ": the same\n" : table.text(width);
}

std::vector<std::string> metrics_of(const Run& run) {
  return metric_names(metric_choice(run.config.run.metrics));
}

// Of the metrics that both were asked for.
std::string results(const Run& a, const Run& b, int width) {
  for (const Run* run : {&a, &b})
    if (!run->record.find("test"))
      return fmt::format("results: {} has none yet\n", run->folder.string());
  std::vector<std::string> names = metrics_of(a);
  const std::vector<std::string> others = metrics_of(b);
  std::erase_if(names, [&](auto& name) { return std::ranges::find(others, name) == others.end(); });
  const auto values = [&](const Run& run) {
    return metrics_at(run.record, "test", run.folder / "run.json", names);
  };
  const std::vector<MetricValue> first = values(a), second = values(b);
  Table table("results, percent");
  table.head({"", "first", "second", "difference"});
  for (const std::size_t column : {1, 2, 3}) table.align_right(column);
  for (std::size_t i = 0; i < names.size(); ++i)
    table.row({names[i], percent_text(first[i]), percent_text(second[i]),
               first[i].is_known() && second[i].is_known()
                   ? fmt::format("{:+.2f}", 100 * (second[i].value - first[i].value))
                   : "-"});
  return table.text(width);
}

}  // namespace

std::string run_difference(const fs::path& a, const fs::path& b, int width) {
  const Run first(a), second(b);
  return "first:  " + a.string() + "\nsecond: " + b.string() + "\n" +
         differing("settings", settings_of(first), settings_of(second), width) +
         differing("data, build, machine", circumstances_of(first), circumstances_of(second),
                   width) +
         results(first, second, width);
}

}  // namespace proxent
