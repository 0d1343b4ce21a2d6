#include "train/run_folder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "data/image.h"
#include "tensor/check.h"
#include "train/atomic_file.h"
#include "train/clock.h"
#include "train/text.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

// A name that is one folder on every file system: letters, digits and ._+- stay.
std::string folder_name(const std::string& name) {
  std::string safe;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool stays = std::isalnum(byte) || byte >= 0x80 || std::strchr("._+-", c);
    safe += stays ? c : '-';
  }
  return safe.empty() || safe[0] == '.' ? "run" + safe : safe;
}

// Makes the folder; false if it is there already. Creating it is the test, so that two runs that
// start together cannot get the same one.
bool make_new_folder(const fs::path& path) {
  std::error_code error;
  if (!path.parent_path().empty()) fs::create_directories(path.parent_path(), error);
  if (!error && fs::create_directory(path, error)) return true;
  if (fs::exists(path)) return false;  // a folder or, with an error, a file
  check<DataError>(!error, "cannot make the run's folder '", path.string(), "': ", error.message());
  return false;
}

// What run, cv and report html write into a folder, beside other folders.
constexpr std::string_view kFiles[] = {"cmdline.txt", "config.toml", "cv.json",     "eval.jsonl",
                                       "lock",        "log.txt",     "metrics.csv", kReportFile,
                                       "run.json",    "table.csv",   "table.md",    "table.tex",
                                       "train.jsonl", "ckpt",        "tb",          kRetrievalFile};

// The first name in a folder that a run would replace or that its files should not lie among, such
// as a data set's; empty: none. A job's output may be there.
std::string name_in_the_way(const fs::path& folder) {
  std::string first;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool is_in_the_way =
        std::ranges::find(kFiles, name) != std::end(kFiles) ||
        (entry.is_directory() ? !name.starts_with(".") : is_picture_name(entry.path()));
    if (is_in_the_way && (first.empty() || name < first)) first = name;
  }
  return first;
}

std::string new_folder_below(const std::string& root, const std::string& name) {
  const std::string base = root + "/" + local_date() + "_" + folder_name(name);
  std::string path = base;
  for (int number = 2; !make_new_folder(path); ++number) path = fmt::format("{}-{}", base, number);
  return path;
}

// The step that a line of a log belongs to; none if the line is broken.
std::optional<std::int64_t> step_of_json(const std::string& line) {
  const std::optional<Json> json = parse_json(line);
  const Json* step = json ? json->find("step") : nullptr;
  return step ? step->integer() : std::nullopt;
}

std::optional<std::int64_t> step_of_csv(const std::string& line) {
  std::int64_t step = 0;
  const auto end = line.data() + line.size();
  const auto result = std::from_chars(line.data(), end, step);
  if (result.ec != std::errc() || result.ptr == end || *result.ptr != ',') return std::nullopt;
  return step;
}

// Keeps the lines up to `step`, and the first `head` lines whatever they are.
template <class StepOf>
void cut_after(const std::string& path, std::int64_t step, int head, const StepOf& step_of) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return;  // the run ended before it was made
  std::string kept, line;
  for (int number = 0; std::getline(file, line); ++number) {
    if (file.eof()) break;  // no line end: half written when the run was killed
    const auto line_step = step_of(line);
    if (number < head || (line_step && *line_step <= step)) kept += line + "\n";
  }
  write_file_atomically(path, kept);
}

// The first line of metrics.csv.
std::string columns_of(const std::vector<std::string>& metrics) {
  std::string columns = "step,epoch,split";
  for (const std::string& metric : metrics) columns += "," + metric;
  return columns;
}

std::FILE* open_to_append(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "a");
  check(file, "cannot write '", path, "': ", std::strerror(errno));
  return file;
}

// A full disk must be told, not end in a log that silently stops.
void write_line(std::FILE* file, const std::string& path, const std::string& line) {
  const bool is_written = std::fputs((line + "\n").c_str(), file) >= 0 && std::fflush(file) == 0;
  check<DataError>(is_written, "cannot write '", path, "': ", std::strerror(errno),
                   "; the run can go on from its last checkpoint by --resume");
}

void write_record(const std::string& folder, const Json& record) {
  write_file_atomically(folder + "/run.json", record.text(2) + "\n");
}

Json stamped(Json line) {
  Json with_time;
  with_time["t"] = utc_now();
  const bool is_finite = !line.has_nonfinite();
  for (auto& [key, value] : line.members()) with_time[key] = std::move(value);
  if (!is_finite) with_time["nonfinite"] = true;
  return with_time;
}

}  // namespace

std::string make_run_folder(const RunFolderOptions& options) {
  if (options.out.empty()) return new_folder_below(options.root, options.name);
  const std::string& path = options.out;
  if (!make_new_folder(path)) {
    const bool is_folder = fs::is_directory(path);
    check<UsageError>(is_folder, "--out '", path, "' is a file; give a folder");
    const bool has_state =
        fs::exists(path + "/ckpt/last.state") || fs::exists(path + "/ckpt/previous.state");
    check<UsageError>(!fs::exists(path + "/run.json"), "'", path, "' holds a run already",
                      has_state ? ". Go on with it by --resume " + path
                                : ", which has no checkpoint to go on from. Start over in it by "
                                  "--resume auto --out " +
                                      path,
                      " or choose another --out.");
    const std::string name = name_in_the_way(path);
    check<UsageError>(name.empty(), "--out '", path, "' holds ", name,
                      ", and a run lies neither among pictures nor folders, nor does it replace "
                      "files; name a new folder");
  }
  return path;
}

void try_run_folder(const RunFolderOptions& options) {
  struct Fresh {
    std::vector<fs::path> folders;  // that were not there, the innermost first
    ~Fresh() {
      std::error_code ignored;
      for (const fs::path& folder : folders) fs::remove(folder, ignored);
    }
  } fresh;
  for (fs::path folder = options.out.empty() ? options.root : options.out;
       !folder.empty() && !fs::exists(folder); folder = folder.parent_path())
    fresh.folders.push_back(folder);
  const fs::path folder = make_run_folder(options);
  if (options.out.empty()) fresh.folders.insert(fresh.folders.begin(), folder);
  const AtomicFile never_committed(folder / "run.json");
}

RunFolder::RunFolder(std::string path, std::size_t metric_count)
    : path_(std::move(path)),
      lock_(std::make_unique<FolderLock>(path_)),
      metric_count_(metric_count) {}

RunFolder RunFolder::create(const RunFolderOptions& options) {
  const std::string path = make_run_folder(options);
  const Json record =
      Json::object({{"name", options.name}, {"status", "running"}, {"started", utc_now()}});
  write_record(path, record);
  RunFolder folder = reopen(path, options.metrics);
  folder.begin(options);
  return folder;
}

RunFolder RunFolder::resume(const std::string& path, const std::vector<std::string>& metrics) {
  RunFolder folder = reopen(path, metrics);
  std::ifstream file(folder.file("metrics.csv"));
  std::string columns;
  std::getline(file, columns);
  check<UsageError>(columns == columns_of(metrics), "'", folder.file("metrics.csv"),
                    "' has the columns ", columns, ", and --metrics asks for ", columns_of(metrics),
                    "; go on with the same metrics");
  return folder;
}

RunFolder RunFolder::start_over(const RunFolderOptions& options) {
  RunFolder folder = reopen(options.out, options.metrics);
  folder.begin(options);
  return folder;
}

// The first log comes after the folder of checkpoints: where it is, that has been there.
void RunFolder::begin(const RunFolderOptions& options) {
  fs::create_directory(file("ckpt"));
  if (options.has_events) fs::create_directory(events());
  write_file_atomically(file("metrics.csv"), columns_of(options.metrics) + "\n");
  go_on_after(0);
}

RunFolder RunFolder::reopen(const std::string& path, const std::vector<std::string>& metrics) {
  check<UsageError>(fs::exists(path + "/run.json"), "'", path,
                    "' holds no run: there is no run.json in it");
  RunFolder folder(path, metrics.size());
  folder.load_record();
  return folder;
}

void RunFolder::go_on_after(std::int64_t step, bool owes_evaluation) {
  const std::int64_t evaluated = owes_evaluation ? step - 1 : step;
  cut_after(file("train.jsonl"), step, 0, step_of_json);
  cut_after(file("eval.jsonl"), evaluated, 0, step_of_json);
  cut_after(file("metrics.csv"), evaluated, 1, step_of_csv);
  cut_events(events(), [&](const EventScalars& event) {
    return event.step > (are_of_eval(event.values) ? evaluated : step);
  });
  open_logs();
}

void RunFolder::load_record() { record_ = read_json(file("run.json")); }

void RunFolder::open_logs() {
  steps_.reset(open_to_append(file("train.jsonl")));
  evals_.reset(open_to_append(file("eval.jsonl")));
  metrics_.reset(open_to_append(file("metrics.csv")));
  if (fs::is_directory(events())) events_.emplace(events());
}

void RunFolder::write_command_line(const std::vector<std::string>& arguments) {
  const File out(open_to_append(file("cmdline.txt")), std::fclose);
  write_line(out.get(), file("cmdline.txt"), shell_line(arguments));
}

void RunFolder::write_config(std::string_view toml) {
  write_file_atomically(file("config.toml"), toml);
}

void RunFolder::save_record() { write_record(path_, record_); }

void RunFolder::set_status(std::string_view status, std::string_view reason) {
  record_["status"] = status;
  record_["changed"] = utc_now();
  record_["reason"] = reason.empty() ? Json() : Json(reason);  // not that of an earlier sitting
  save_record();
}

void RunFolder::add_step(Json line) {
  add_event(line, scalars_of_step(line));
  write_line(steps_.get(), file("train.jsonl"), stamped(std::move(line)).text());
}

void RunFolder::add_eval(Json line) {
  add_event(line, scalars_of_eval(line));
  write_line(evals_.get(), file("eval.jsonl"), stamped(std::move(line)).text());
}

void RunFolder::add_event(const Json& line, Scalars scalars) {
  if (!events_) return;
  const Json* step = line.find("step");
  events_->add({.wall_time = seconds_since_1970(),
                .step = step ? step->integer().value_or(0) : 0,
                .values = std::move(scalars)});
}

void RunFolder::add_metrics(std::int64_t step, double epoch, std::string_view split,
                            const std::vector<double>& values) {
  check(values.size() == metric_count_, "metrics.csv has ", metric_count_, " metrics, got ",
        values.size());
  std::string row = fmt::format("{},{},{}", step, shortest(epoch), split);
  for (const double value : values) row += "," + (std::isfinite(value) ? shortest(value) : "");
  write_line(metrics_.get(), file("metrics.csv"), row);
}

void RunFolder::sync_logs() {
  for (std::FILE* log : {steps_.get(), evals_.get(), metrics_.get()}) {
    const bool is_written = ::fsync(::fileno(log)) == 0 || errno == EINVAL;
    check<DataError>(is_written, "cannot write the logs in '", path_, "': ", std::strerror(errno),
                     "; the run can go on from its last checkpoint by --resume");
  }
  if (events_) events_->sync();
}

std::string shell_line(const std::vector<std::string>& arguments) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  std::vector<std::string> quoted;
  for (const std::string& argument : arguments) {
    if (!argument.empty() && argument.find_first_not_of(kPlain) == std::string::npos) {
      quoted.push_back(argument);
      continue;
    }
    std::string text = "'";
    for (const char c : argument) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    quoted.push_back(text + "'");
  }
  return join(quoted, " ");
}

}  // namespace proxent
