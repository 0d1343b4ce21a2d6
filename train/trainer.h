// The training loop: batches in, steps, evaluations, checkpoints; stops at its end, on a signal, or
// when its time is up, and goes on from where it stopped. The loop is in trainer.cpp, the rest in
// trainer_evaluation.cpp, trainer_state.cpp and trainer_divergence.cpp.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "data/loader.h"
#include "train/checkpoint.h"
#include "train/clock.h"
#include "train/config.h"
#include "train/diagnostics.h"
#include "train/evaluation.h"
#include "train/every.h"
#include "train/kept_tensors.h"
#include "train/learner.h"
#include "train/progress_view.h"
#include "train/proxy_diagnostics.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "train/selection.h"
#include "train/task.h"

namespace proxent {

class ProfiledSteps;

struct TrainOutcome {
  bool is_finished = true;  // false: stopped early; a checkpoint to go on from lies in the folder
  std::string stop_reason;  // "SIGTERM", "time limit"; of a finished run: why before its last step
  double first_loss = 0, last_loss = 0;
};

class Trainer {
 public:
  // Builds everything that config names; task, folder and log must outlive the trainer. Throws what
  // a wrong configuration or weight file throws.
  Trainer(const Config& config, Device device, const Task& task, RunFolder& folder, Log& log);

  // Trains from where the state stands to the end of the schedule, or until run.early_stop is
  // satisfied. The batch of a loss or gradient that is not finite is written to the folder, and
  // run.on_nan decides: a NonFiniteError that names op, module and file, or a warning that does.
  TrainOutcome run();

  // Continues from a last.state, or the one before it where that is damaged, and cuts the folder's
  // logs to it. Throws DataError if it belongs to another configuration, UsageError if its best
  // weights were chosen by other pictures than would choose now.
  void resume(const std::filesystem::path& state);
  // How the present weights retrieve (the averaged ones where there are any).
  Evaluation evaluate(const Dataset& dataset);
  // What the present proxies stand for, by at most so many training pictures as evaluation sees
  // them; nothing for a loss without proxies, or with one per class and no finer labels.
  std::optional<ProxyDiagnostics> diagnose_proxies(std::int64_t pictures);
  // Takes the weights of the best checkpoint and returns how they were chosen; nothing if no
  // evaluation could choose any.
  std::optional<Selection> load_best();

  const Progress& progress() const { return progress_; }
  std::int64_t total_steps() const { return total_steps_; }
  // No step is left to make: all are made, or no evaluation was better for so long as asked.
  bool is_done() const {
    return !progress_.owes_evaluation && (progress_.step == total_steps_ || is_settled());
  }
  std::int64_t steps_per_epoch() const { return sampler_.batches_per_epoch(); }
  EmbedOptions embed_options();  // of evaluations; tells the progress line
  // "12ep,20ep": where --sched plateau lowered the rate, as optim.lr_milestones reads it.
  std::string milestones_found() const;
  // What evaluations report.
  const MetricChoice& metrics() const { return metrics_; }
  // Blocks whose branch the loaded weights lack.
  const std::vector<std::string>& identity_blocks() const { return learner_.identity_blocks; }
  const LoadReport* load_report() const {
    return learner_.load_report ? &*learner_.load_report : nullptr;
  }
  // Rows for the run's header: group, tensors, elements, learning rate factor, decay.
  std::vector<std::vector<std::string>> parameter_groups() const {
    return learner_.optimizer->table();
  }
  // Why pictures could not be read, each once: training replaced them, evaluations left them out.
  std::vector<std::string> bad_images() const;

 private:
  bool advance(ProfiledSteps& profiled, Every& log_due, Every& eval_due);
  Batch next_batch();
  void step(Batch batch);
  void take_results(int may_wait);
  void note_left_out(const Embeddings& embeddings);
  void note_result();
  void after_nonfinite(const Batch& batch, std::int64_t step, const NonFiniteError& error);
  void after_nonfinite_evaluation(const NonFiniteError& error);
  void forget_numbers();
  void roll_back();
  void hold_still_parts();
  void log_step(bool is_line_due);
  // What an evaluation on the way finds, before anything follows from it.
  struct Finding {
    Evaluation evaluation;
    double seconds;
    std::optional<ProxyDiagnostics> proxies;
  };
  std::optional<Finding> evaluate_on_the_way(const Dataset& dataset);
  void settle_evaluation();
  void choose_by(const Finding& found);
  void watch_for_plateau(bool is_best);
  std::string where_back() const;  // for a warning, after roll_back()
  void warn_of_collapse(const EmbeddingSpread& spread, std::int64_t dim);
  void save();
  TrainingState restore_from(const std::filesystem::path& state);  // what the file holds
  std::string reason_to_stop() const;
  bool is_settled() const;  // no better evaluation for so long that the run ends
  double seconds() const;
  // Names and labels, which tell one set of training pictures from another wherever it lies.
  static std::string fingerprint(const Dataset& dataset);
  CheckpointInfo checkpoint_info(Selection selection) const;
  TrainingState state();

  const Config& config_;
  const Device device_;
  const Task& task_;
  RunFolder& folder_;
  Log& log_;

  Learner learner_;
  std::optional<KeptTensors> before_step_;  // with --on-nan skip
  std::deque<Batch> pending_;               // batches whose steps' results were not taken
  MetricChoice metrics_;
  const std::string chooser_;  // the metric that chooses the best weights, "R@1"
  ScheduleOptions schedule_;   // of sched plateau, with the milestones found so far
  Sampler sampler_;
  std::string train_data_;  // its fingerprint
  std::unique_ptr<Loader> loader_;
  std::optional<Batch> only_batch_;  // of --overfit-batch
  CheckpointFolder checkpoints_;

  std::int64_t total_steps_ = 0, warmup_head_steps_ = 0;
  Progress progress_;
  StepResult last_step_;
  std::optional<double> loss_z_, gradient_z_;  // of last_step_ among the steps before it
  bool has_result_ = false;                    // last_step_ holds one
  std::int64_t rollbacks_ = 0;                 // since the last checkpoint
  bool has_warned_of_collapse_ = false;
  bool has_told_origin_ = false;    // of evaluations on the way: once is enough
  Stopwatch watch_;                 // of this sitting
  double seconds_before_ = 0;       // of earlier sittings
  Stopwatch sitting_;               // with what comes before training
  double waited_ = 0;               // of the loader, at the last step
  std::set<std::string> left_out_;  // by evaluations: the reasons
  Pace pace_;
  ProgressView view_;
};

}  // namespace proxent
