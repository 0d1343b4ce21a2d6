#include <fmt/format.h>

#include <chrono>

#include "data/dataset_report.h"
#include "tensor/check.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"
#include "train/json.h"
#include "train/task.h"
#include "train/terminal.h"
#include "train/text.h"

namespace proxent {
namespace {

Json names_json(const std::vector<std::string>& names) {
  Json list = Json::array();
  for (const std::string& name : names) list.push_back(name);
  return list;
}

Json report_json(const DatasetReport& report) {
  Json json;
  json["sound"] = report.is_sound();
  json["pictures"] = report.pictures;
  json["unreadable"] = Json::array();
  for (const auto& picture : report.unreadable)
    json["unreadable"].push_back(
        Json::object({{"path", picture.path}, {"reason", picture.reason}}));
  json["gray"] = report.gray;
  json["palette"] = report.palette;
  json["alpha"] = report.alpha;
  json["cmyk"] = report.cmyk;
  json["sixteen_bit"] = report.sixteen_bit;
  json["exif_turned"] = report.exif_turned;
  json["smallest_side"] = report.smallest_side;
  json["largest_side"] = report.largest_side;
  json["lone_classes"] = names_json(report.lone_classes);
  json["shared_classes"] = names_json(report.shared_classes);
  json["identical"] = Json::array();
  for (const auto& pair : report.identical)
    json["identical"].push_back(Json::object({{"first", pair.first},
                                              {"second", pair.second},
                                              {"across_splits", pair.is_across_splits},
                                              {"other_class", pair.has_other_class}}));
  json["queries_without_match"] = report.queries_without_match;
  return json;
}

}  // namespace

int data_command(const Arguments& arguments) {
  Config config;
  std::string action;
  bool is_json = false;
  CommandLine line(
      {.name = "data",
       .usage = "check [flags]",
       .summary = "check a data set before training on it",
       .about = "Opens every picture and tells what would harm a run: files that are missing or "
                "broken, equal pictures in training and test, classes in both or with one "
                "picture, queries without a match; and counts gray, CMYK, 16-bit, palette and "
                "EXIF-turned pictures.",
       .examples = {{"proxent data check --data pictures", "a folder per class, or lists"},
                    {"proxent data check --dataset glyphs", "the embedded letters"}},
       .output = "A report on stdout. Exit code 3 if training or a score on this data would be "
                 "wrong."});
  line.positional("check", &action, "what to do with the data set");
  line.settings().add("json", &is_json, "print one JSON object on stdout");
  line.add_config(config, {.sections = {"data"}});
  if (!line.parse(arguments)) return kDone;
  check<UsageError>(action == "check", "data: expected check, got '", action, "'");

  const auto begin = std::chrono::steady_clock::now();
  const DatasetSplits splits = open_dataset(dataset_options_of(config.data));
  const DatasetReport report =
      check_datasets(splits, static_cast<int>(config.data.workers.value_or(0)));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  if (is_json) {
    Json json = report_json(report);
    json["description"] = splits.description;
    print_out(json.text(2) + "\n");
  } else {
    print_out(bold(splits.description) + "\n" + report.to_text() +
              fmt::format("{} pictures in {}: ", human_count(report.pictures),
                          human_seconds(seconds.count())) +
              (report.is_sound() ? green("sound") : red("not sound")) + "\n");
  }
  return report.is_sound() ? kDone : kDataError;
}

}  // namespace proxent
