// The lines of a training run: one per --log-every, one per evaluation, and a live bar below them
// on a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/json.h"
#include "train/log.h"
#include "train/metric_value.h"

namespace proxent {

// One optimizer step, averaged since the last line where that is meant.
struct StepRecord {
  double epoch = 0;  // passes over the training pictures so far, 3.41
  std::int64_t epochs = 0;
  std::int64_t step = 0, steps = 0;  // optimizer steps done, and in all
  std::int64_t images = 0;           // pictures seen
  double loss = 0;
  std::vector<std::pair<std::string, double>> terms;   // "ce", "inter", "intra" ..., as weighted
  double gradient_norm = 0;                            // before clipping
  std::optional<double> loss_z = {}, gradient_z = {};  // how unusual among the steps before
  double lr = 0, proxy_lr = 0;
  double images_per_second = 0;
  double step_seconds = 0, wait_seconds = 0;  // per step; of which waiting for data
  std::int64_t memory_bytes = 0;              // taken from the system for tensors
  std::int64_t process_bytes = 0;             // of the whole process, in the host's memory
  double seconds_left = 0;
  std::optional<double> loss_scale = {};  // of fp16
  std::int64_t skipped = 0;               // steps so far that were not finite and changed nothing

  double wait_share() const { return step_seconds > 0 ? wait_seconds / step_seconds : 0; }
};

struct EvalRecord {
  double epoch = 0;
  std::int64_t step = 0;
  std::string split;                 // "val", "test"
  std::vector<MetricValue> metrics;  // "R@1", 0.6144: shares, in order
  std::string chosen_by;             // name of the metric that chooses, "R@1"
  double best = 0;                   // of chosen_by so far, this evaluation included
  bool is_best = false;
  std::string label;  // "val-selected", "test-selected", "last-epoch"; empty: nothing selected
  double seconds = 0;
};

// "ep  3/60 │ it 1200/21300 │ loss 1.8342 (ce 1.702 intra 0.132) │ |g| 3.21 │ ... │ eta 1h52m"
std::string step_line(const StepRecord& record);
// The same as one line of at most `width` columns with a bar of the whole run; what matters least
// is left out first.
std::string bar_line(const StepRecord& record, int width);
// "eval ep 3 val │ R@1 61.44 (best 61.44 ▲) R@2 72.90 │ MAP@R 21.30 RP 32.00 │ 6.1s"
std::string eval_line(const EvalRecord& record);
// One object of train.jsonl and of eval.jsonl; "t" is filled in by the run folder.
Json to_json(const StepRecord& record);
Json to_json(const EvalRecord& record);

// Speed and time left from the last steps: averages that follow changes within about 20 steps.
class Pace {
 public:
  void step(double seconds, double wait_seconds, std::int64_t images);
  double step_seconds() const { return average(seconds_); }
  double wait_seconds() const { return average(wait_); }
  double images_per_second() const;
  // Steps alone; the caller adds evaluations and checkpoints to come.
  double seconds_left(std::int64_t steps) const { return average(seconds_) * double(steps); }

 private:
  double average(double sum) const { return weight_ > 0 ? sum / weight_ : 0; }
  double seconds_ = 0, wait_ = 0, images_ = 0, weight_ = 0;
};

enum class ProgressMode { bar, lines, none };
// From log.progress: auto is a bar on a live terminal and lines elsewhere.
ProgressMode progress_mode(std::string_view setting, const Terminal& terminal);

class ProgressView {
 public:
  ProgressView(Log& log, ProgressMode mode) : log_(log), mode_(mode) {}

  // After each step: redraws the bar, at most ten times a second.
  void step(const StepRecord& record);
  // Once per --log-every. Tells once when the loader is the bottleneck.
  void line(const StepRecord& record);
  void eval(const EvalRecord& record);
  // What happens besides steps, in the live line: "evaluating 1200/5924".
  void doing(std::string_view text);
  void finish() { log_.clear_status(); }

 private:
  Log& log_;
  ProgressMode mode_;
  std::chrono::steady_clock::time_point drawn_;
  int slow_lines_ = 0;  // lines in a row with much waiting for data
  bool has_advised_ = false;
};

}  // namespace proxent
