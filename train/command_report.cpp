#include <algorithm>
#include <filesystem>

#include "tensor/check.h"
#include "train/atomic_file.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"
#include "train/experiment.h"
#include "train/finished_run.h"
#include "train/html_report.h"
#include "train/run_difference.h"
#include "train/run_folder.h"
#include "train/terminal.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

// A run's folder itself, or the runs in a folder of runs, by name.
std::vector<fs::path> run_folders(const std::vector<std::string>& given) {
  std::vector<fs::path> folders;
  for (const fs::path path : given) {
    check<DataError>(fs::is_directory(path), "report: '", path.string(), "' is no folder");
    if (fs::exists(path / "run.json")) {
      folders.push_back(path);
      continue;
    }
    std::vector<fs::path> below;
    for (const fs::directory_entry& entry : fs::directory_iterator(path))
      if (fs::exists(entry.path() / "run.json")) below.push_back(entry.path());
    check<DataError>(!below.empty(), "report: '", path.string(), "' holds no run and no folder of ",
                     "one (there is no run.json)");
    std::sort(below.begin(), below.end());
    folders.insert(folders.end(), below.begin(), below.end());
  }
  return folders;
}

// Those that are done; of the others a warning remains.
std::vector<FinishedRun> finished_runs(const std::vector<fs::path>& folders) {
  const Terminal terminal = terminal_on(Stream::error);
  std::vector<FinishedRun> runs;
  for (const fs::path& folder : folders) {
    const auto leave_out = [&](const std::string& why) {
      terminal.print(yellow("warning:") + " " + folder.string() + " is left out: " + why + "\n");
    };
    try {
      const std::string status = status_of_run(folder);
      if (status == "done")
        runs.push_back(read_finished_run(folder));
      else
        leave_out("it is " + status);
    } catch (const DataError& error) {
      leave_out(error.message());
    }
  }
  return runs;
}

}  // namespace

int report_command(const Arguments& arguments) {
  std::string action, format = "terminal", title = "results", out;
  std::vector<std::string> folders;
  CommandLine line(
      {.name = "report",
       .usage = "table|diff|html RUN... [flags]",
       .summary = "runs in one table, what two differ in, or a page with their curves",
       .about =
           "table: averages runs that differ in nothing but their seed and puts the averages "
           "beside each other, each with its 95 % interval and with how its numbers came "
           "about; runs that are not done are left out with a warning. diff: in what settings, "
           "data, build and machine two runs differ, and in their results. html: a page that "
           "needs no other file, with results, curves, queries and what they found, proxies, "
           "settings; also of a run that is under way. Several runs share their plots. A "
           "folder of runs stands for all of them.",
       .examples = {{"proxent report table runs/k1 runs/k2 runs/k4", "an ablation, of three cv's"},
                    {"proxent report table runs/2026-* --format md", "for a README"},
                    {"proxent report diff runs/A runs/B", "why is B worse than A?"},
                    {"proxent report html runs/2026-11-30_cub", "how far is it?"},
                    {"proxent report html runs/k1 runs/k4 -o k.html", "their curves together"}},
       .output = "Tables on stdout, or the page in FILE, RUN/report.html for one run."});
  line.positional("table|diff|html", &action, "what to make of the runs");
  line.positional("RUN", &folders, "folder of a run, of proxent cv, or of several runs");
  line.settings().add("format", &format, "how it is written",
                      {.choices = {"terminal", "md", "tex", "csv", "json"}});
  line.settings().add("title", &title, "above the table");
  line.settings().add("out", &out, "where the page goes", {.letter = 'o', .value = "FILE"});
  if (!line.parse(arguments)) return kDone;
  check<UsageError>(action == "table" || action == "diff" || action == "html",
                    "report: expected table, diff or html, got '", action, "'");
  for (const Setting& setting : line.settings().rows()) {
    const std::string_view user = setting.key == "out" ? "html" : "table";
    check<UsageError>(setting.source.empty() || action == user, "report ", action, ": ",
                      setting.source, " is for ", user, "; leave it out");
  }
  const int width = terminal_on(Stream::out).columns();
  if (action == "diff") {
    check<UsageError>(folders.size() == 2, "report diff: expected the folders of two runs, got ",
                      folders.size());
    print_out(run_difference(folders[0], folders[1], width));
    return kDone;
  }
  if (action == "html") {
    const std::vector<fs::path> runs = run_folders(folders);
    check<UsageError>(runs.size() == 1 || !out.empty(),
                      "report html: say by -o FILE where the page of several runs goes");
    if (out.empty()) out = (runs[0] / kReportFile).string();
    write_file_atomically(out, html_report(runs));
    print_out(out + "\n");
    return kDone;
  }
  const ResultTable table = table_of_runs(finished_runs(run_folders(folders)), title);
  print_out(format == "terminal" ? terminal_text(table, width) : formatted(table, format));
  return kDone;
}

}  // namespace proxent
