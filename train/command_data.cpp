#include <fmt/format.h>

#include <algorithm>

#include "data/contact_sheet.h"
#include "data/dataset_report.h"
#include "data/dataset_stats.h"
#include "data/perceptual_hash.h"
#include "tensor/check.h"
#include "train/atomic_file.h"
#include "train/clock.h"
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
                                              {"evaluated", pair.is_evaluated},
                                              {"other_class", pair.has_other_class}}));
  json["near"] = Json::array();
  for (const auto& pair : report.near)
    json["near"].push_back(Json::object({{"first", pair.first},
                                         {"second", pair.second},
                                         {"bits", pair.bits},
                                         {"other_class", pair.has_other_class}}));
  json["queries_without_match"] = names_json(report.queries_without_match);
  json["impossible"] = names_json(report.impossible);
  return json;
}

struct DataFlags {
  std::string action, out;
  std::int64_t rows = 6, columns = 8, seed = 1;
  bool is_json = false;
};

int check_data(const DatasetSplits& splits, int threads, const DataFlags& flags) {
  const Stopwatch watch;
  const DatasetReport report = check_datasets(splits, threads);
  const double seconds = watch.seconds();
  if (flags.is_json) {
    Json json = report_json(report);
    json["description"] = splits.description;
    print_out(json.text(2) + "\n");
  } else {
    print_out(
        bold(splits.description) + "\n" + report.to_text() +
        fmt::format("{} pictures in {}: ", human_count(report.pictures), human_seconds(seconds)) +
        (report.is_sound() ? green("sound") : red("not sound")) + "\n");
  }
  return report.is_sound() ? kDone : kDataError;
}

template <class T>
Json spread_json(const Spread<T>& spread) {
  return Json::object({{"min", spread.least}, {"median", spread.median}, {"max", spread.most}});
}

Json stats_json(const PartStats& part) {
  Json json = Json::object({{"pictures", part.pictures},
                            {"classes", part.classes},
                            {"queries", part.queries},
                            {"gallery", part.gallery},
                            {"unreadable", part.unreadable},
                            {"per_class", spread_json(part.per_class)},
                            {"width", spread_json(part.width)},
                            {"height", spread_json(part.height)},
                            {"aspect", spread_json(part.aspect)}});
  json["per_class_histogram"] = Json::array();
  for (const PartStats::Bin& bin : part.per_class_bins)
    json["per_class_histogram"].push_back(
        Json::object({{"from", bin.low}, {"to", bin.high}, {"classes", bin.classes}}));
  json["aspect_histogram"] = Json::array();
  for (std::size_t i = 0; i < part.aspect_bins.size(); ++i)
    json["aspect_histogram"].push_back(Json::object(
        {{"below", i < PartStats::kAspects.size() ? Json(PartStats::kAspects[i]) : Json()},
         {"pictures", part.aspect_bins[i]}}));
  json["categories"] = Json::object();
  for (const auto& [category, count] : part.categories) json["categories"][category] = count;
  return json;
}

int print_stats(const DatasetSplits& splits, int threads, const DataFlags& flags) {
  const std::vector<PartStats> parts = dataset_stats(splits, threads);
  if (flags.is_json) {
    Json json = Json::object({{"description", splits.description}});
    for (const PartStats& part : parts) json[part.role] = stats_json(part);
    print_out(json.text(2) + "\n");
    return kDone;
  }
  std::string text = bold(splits.description) + "\n";
  for (const PartStats& part : parts) text += part.to_text();
  print_out(text);
  return kDone;
}

void say_written(const DataFlags& flags, const std::string& what) {
  if (flags.is_json)
    print_out(Json::object({{"out", flags.out}, {"holds", what}}).text(2) + "\n");
  else
    print_out(flags.out + ": " + what + "\n");
}

int convert_data(const DatasetSplits& splits, const DataFlags& flags) {
  write_file_atomically(flags.out, to_csv(splits, flags.out));
  say_written(flags, splits.description);
  if (!splits.validation.is_empty())
    terminal_on(Stream::error)
        .print(
            yellow("warning:") + " " + flags.out +
            " has a part test beside train and validation, which open-metric-learning refuses\n");
  return kDone;
}

// A row for each of some classes: a picture as it is, and how training may see it.
int preview_data(const DatasetSplits& splits, const Config& config, const DataFlags& flags) {
  const Dataset& train = splits.train.is_empty() ? splits.test : splits.train;
  const Transform transform = train_transform_of(config.data);
  const auto seed = static_cast<std::uint64_t>(flags.seed);
  Philox choice(seed, stream_of("preview"));
  auto by_class = train.samples_by_class();
  std::erase_if(by_class, [](const auto& pictures) { return pictures.empty(); });
  std::vector<std::vector<SheetCell>> rows;
  while (!by_class.empty() && std::ssize(rows) < flags.rows) {
    const auto chosen = by_class.begin() + choice.below(std::ssize(by_class));
    const Image picture = train.load((*chosen)[choice.below(std::ssize(*chosen))]);
    by_class.erase(chosen);
    Philox augmentation(seed, stream_of("preview row", rows.size()));
    std::vector<SheetCell>& row = rows.emplace_back();
    row.push_back({picture, Frame::blue});
    while (std::ssize(row) < flags.columns) row.push_back({transform.apply(picture, augmentation)});
  }
  write_picture_atomically(flags.out, contact_sheet(rows));
  say_written(flags, counted(std::ssize(rows), "picture", "pictures") + " of " + train.name +
                         ", each as it is and " + counted(flags.columns - 1, "time", "times") +
                         " as training sees it: " + transform.describe());
  return kDone;
}

void add_flags(CommandLine& line, DataFlags& flags) {
  line.positional("check|stats|convert|preview", &flags.action, "what to do with the data set");
  line.settings().add("out", &flags.out, "convert: the .csv to write; preview: the .png",
                      {.letter = 'o', .value = "FILE"});
  line.settings().add("rows", &flags.rows, "preview: pictures, each of another class",
                      {.range = between(1, 100)});
  line.settings().add("columns", &flags.columns, "preview: the picture and its augmentations",
                      {.range = between(1, 100)});
  line.settings().add("seed", &flags.seed, "preview: of the choice and the augmentation",
                      {.range = at_least(0)});
  add_json(line.settings(), &flags.is_json);
}

void check_flags(const DataFlags& flags) {
  const std::vector<std::string> actions{"check", "stats", "convert", "preview"};
  check<UsageError>(std::find(actions.begin(), actions.end(), flags.action) != actions.end(),
                    "data: expected ", one_of(actions), ", got '", flags.action, "'.",
                    suggestion(flags.action, actions));
  const bool writes = flags.action == "convert" || flags.action == "preview";
  check<UsageError>(!writes || !flags.out.empty(), "data ", flags.action,
                    ": needs the file to write, -o ",
                    flags.action == "convert" ? "data.csv" : "preview.png");
  if (flags.action == "preview") check_is_png(flags.out, "data preview -o");
  check<UsageError>(writes || flags.out.empty(), "data ", flags.action,
                    ": writes no file; leave out -o or redirect stdout");
}

}  // namespace

int data_command(const Arguments& arguments) {
  Config config;
  DataFlags flags;
  CommandLine line(
      {.name = "data",
       .usage = "check|stats|convert|preview [flags]",
       .summary = "check, count, convert or preview a data set",
       .about =
           "check opens every picture and tells what would harm a run: files that are missing or "
           "broken, equal pictures in training and test, within test or of two classes, pictures "
           "that "
           "look alike in training and test (a "
           "perceptual hash that differs in at most " +
           std::to_string(kNearBits) +
           " of 64 bits), classes in both or with one picture, a single class to train on, queries "
           "without a match; and counts "
           "gray, CMYK, 16-bit, palette and EXIF-turned pictures.\n"
           "stats counts pictures per class, sizes, aspect ratios and categories of each part.\n"
           "convert writes the table that open-metric-learning reads, and that opens here as the "
           "same data set: label,path,split,is_query,is_gallery, and where the data has them "
           "category, fine_label, boxes and class_name. The test part is called validation there, "
           "as the other calls it, unless the data has a validation part too: three parts can be "
           "read back here only.\n"
           "preview draws training pictures as they are and as training sees them.\n\n"
           "--data may hold one of these layouts, which are recognised, or named by --dataset:\n" +
           known_layouts(),
       .examples = {{"proxent data check --data pictures", "a folder per class, or lists"},
                    {"proxent data stats --data CUB_200_2011", "a benchmark as it is handed out"},
                    {"proxent data convert --data CUB_200_2011 -o CUB_200_2011/cub.csv",
                     "a table beside the pictures, which can be moved with them"},
                    {"proxent data preview --data pictures --crop random -o preview.png",
                     "what an augmentation does"}},
       .output = "A report on stdout; convert and preview write their file whole or not at all. "
                 "Exit code 3 if training or a score on this data would be wrong."});
  add_flags(line, flags);
  line.add_config(config, {.sections = {"data"}});
  if (!line.parse(arguments)) return kDone;
  check_flags(flags);

  DatasetOptions options = dataset_options_of(config.data);
  options.accept_missing |= flags.action == "check";  // it names every picture that cannot be read
  const DatasetSplits splits = open_dataset(options);
  const int threads = static_cast<int>(config.data.workers.value_or(0));
  if (flags.action == "check") return check_data(splits, threads, flags);
  if (flags.action == "stats") return print_stats(splits, threads, flags);
  if (flags.action == "convert") return convert_data(splits, flags);
  return preview_data(splits, config, flags);
}

}  // namespace proxent
