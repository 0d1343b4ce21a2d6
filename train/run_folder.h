// The folder of one run: what was asked (cmdline.txt, config.toml), what came out (run.json,
// metrics.csv), how it went (train.jsonl, eval.jsonl, log.txt; tb/ for TensorBoard), and ckpt/ for
// the checkpoints. train/html_report.h makes a page of it.
#pragma once

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "train/event_file.h"
#include "train/folder_lock.h"
#include "train/json.h"
#include "train/scalars.h"

namespace proxent {

// Pictures in a run's folder: queries and what they found, and the page of train/html_report.h.
inline constexpr const char* kRetrievalFile = "retrieval.png";
inline constexpr const char* kReportFile = "report.html";

struct RunFolderOptions {
  std::string out;  // the folder; empty: root/DATE_name
  std::string root = "runs";
  std::string name;                  // for the folder's name and run.json
  std::vector<std::string> metrics;  // columns of metrics.csv, "R@1"; fixed from the start
  bool has_events = true;            // tb/, for TensorBoard; a resumed run goes on as it began
};

// Makes the folder that the options name and returns its path; root/DATE_name that exists already
// gets a number: DATE_name-2. Throws UsageError if `out` holds a run, pictures, folders or a file
// that a run would replace, DataError if the folder cannot be made.
std::string make_run_folder(const RunFolderOptions& options);
// Throws where make_run_folder would, or where no file can be written into the folder, and leaves
// nothing behind.
void try_run_folder(const RunFolderOptions& options);

class RunFolder {
 public:
  // In the folder of make_run_folder, with run.json before all else: whoever is killed has left a
  // folder to start over in.
  static RunFolder create(const RunFolderOptions& options);
  // The folder of an earlier run, in which go_on_after() says where it continues. Throws UsageError
  // if metrics.csv has other metrics.
  static RunFolder resume(const std::string& path, const std::vector<std::string>& metrics);
  // The folder `out` of a run that left no state: its logs begin anew.
  static RunFolder start_over(const RunFolderOptions& options);
  // All three throw UsageError, naming it, if another process trains in the folder.

  // Lines of steps after `step` are cut from train.jsonl, eval.jsonl, metrics.csv and the event
  // file, as is a half-written last one; where the step `owes_evaluation`, so is the one of it that
  // a process wrote which was killed before its next state.
  void go_on_after(std::int64_t step, bool owes_evaluation = false);

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

  // cmdline.txt, quoted for a shell; a resumed run adds its line.
  void write_command_line(const std::vector<std::string>& arguments);
  void write_config(std::string_view toml);

  // run.json: change it, then save. It is replaced whole, so a reader never sees half of it.
  Json& record() { return record_; }
  void save_record();
  // Sets "status" (running, done, failed, killed) with the time, and saves.
  void set_status(std::string_view status, std::string_view reason = {});

  // One line each, written at once. Time is added as "t", and "nonfinite": true where a number
  // is NaN or infinite, which JSON writes as null. The event file gets the same numbers.
  void add_step(Json line);
  void add_eval(Json line);
  // One row of metrics.csv; values in the order of `metrics`, NaN as an empty cell.
  void add_metrics(std::int64_t step, double epoch, std::string_view split,
                   const std::vector<double>& values);
  // Waits until the lines written so far would outlast a loss of power.
  void sync_logs();

 private:
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

  RunFolder(std::string path, std::size_t metric_count);
  static RunFolder reopen(const std::string& path, const std::vector<std::string>& metrics);
  void begin(const RunFolderOptions& options);
  std::string events() const { return file("tb"); }
  void open_logs();
  void load_record();
  void add_event(const Json& line, Scalars scalars);

  std::string path_;
  std::unique_ptr<FolderLock> lock_;
  Json record_;
  File steps_{nullptr, std::fclose}, evals_{nullptr, std::fclose}, metrics_{nullptr, std::fclose};
  std::optional<EventFile> events_;
  std::size_t metric_count_ = 0;
};

// Arguments as a shell would take them back.
std::string shell_line(const std::vector<std::string>& arguments);

}  // namespace proxent
