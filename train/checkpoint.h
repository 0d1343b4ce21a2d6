// What a run leaves on the disk: weights for others to use, and the state it can go on from.
//   ckpt/last.safetensors, best.safetensors   weights and proxies under torchvision's names
//   ckpt/step-00012000.safetensors            the same, the newest few, where asked for
//   ckpt/last.state                           everything a resumed run needs, weights included
//   ckpt/previous.state                       the one before it, should last.state be damaged
//   ckpt/damaged.state                        a last.state that was, put aside
#pragma once

#include <filesystem>
#include <functional>
#include <limits>
#include <optional>

#include "train/running_spread.h"
#include "train/weights.h"

namespace proxent {

// What weights come from; the metadata of a weights file.
struct CheckpointInfo {
  std::string arch = {};    // "resnet18"
  std::string config = {};  // the whole configuration, TOML
  std::int64_t step = 0;
  std::int64_t epoch = 0;   // epochs done
  std::string metric = {};  // what chose these weights, "r@1 (val)"; empty: nothing did
  double value = std::numeric_limits<double>::quiet_NaN();  // of the metric
  // How the weights were chosen, "val-selected"; empty in files that older versions wrote.
  std::string selection = {};
};
TextMap to_texts(const CheckpointInfo& info);
// Throws DataError, naming `origin`, if the texts are not of a file that proxent wrote.
CheckpointInfo checkpoint_info(const TextMap& texts, const std::string& origin);

// Where a run stands. Positions count what is done, so they are where the next step begins.
struct Progress {
  std::int64_t step = 0;   // optimizer steps
  std::int64_t epoch = 0;  // whole epochs
  std::int64_t batch = 0;  // batches of the epoch under way
  std::int64_t images = 0;
  double seconds = 0;                         // of training, over all sittings
  std::optional<double> best = std::nullopt;  // value of the metric that chooses
  std::int64_t best_epoch = 0;
  std::int64_t evals_since_best = 0;
  std::vector<std::int64_t> lr_drops = {};  // steps from which --sched plateau lowered the rate
  std::int64_t evals_on_plateau = 0;        // without a better one, since the last of them
  std::int64_t skipped = 0;  // steps that changed nothing: fp16's loss scale, --on-nan skip
  std::int64_t nonfinite_in_row = 0;  // of them the last ones without a finite step between
  bool owes_evaluation = false;       // it was due at this step, and was broken off
  // Of training, when it was last the turn of what is asked for every so many seconds.
  double logged_at = 0, evaluated_at = 0, saved_at = 0;
  RunningSpread loss = {}, gradient_norm = {};  // of the steps so far, for z-scores
  bool operator==(const Progress&) const = default;
};
TextMap to_texts(const Progress& progress);
Progress progress_of(const TextMap& texts, const std::string& origin);  // throws DataError

// A state: tensors that share memory with their owners (model_state, Optimizer::state,
// WeightAverage::state), so that writing them saves and copying into them restores.
struct TrainingState {
  TensorMap tensors = {};
  TextMap texts = {};  // Progress, configuration, whatever else the trainer wants back
};

// Parameters and buffers as they lie in memory, as "model.<path>".
TensorMap model_state(const Modules& trees);
// Copies `from` into the tensors of `into`: all, or none and DataError naming every tensor that is
// missing, superfluous, or differs in shape or dtype.
void restore(const TensorMap& into, const TensorMap& from, const std::string& origin);

// With a checksum of all it holds.
void write_state(const std::filesystem::path& path, const TrainingState& state);
// Throws DataError if the file is not a state or the checksum is of other bytes.
TrainingState read_state(const std::filesystem::path& path);

// The state that was saved before a last.state, beside it.
std::filesystem::path state_before(const std::filesystem::path& last);
// The state at `last` or, where that one is damaged or gone, the one before it, of which `warn` is
// told; the damaged one is renamed to damaged.state. Throws DataError, with both reasons, where
// neither can be read.
TrainingState read_newest_state(const std::filesystem::path& last,
                                const std::function<void(const std::string&)>& warn);

// The folder ckpt/ of a run. Every file is replaced at once or not at all.
class CheckpointFolder {
 public:
  // Creates the folder. keep_last: so many step-*.safetensors are kept; 1 or less: none, since
  // last.safetensors is the one.
  explicit CheckpointFolder(std::filesystem::path folder, std::int64_t keep_last = 1);

  std::filesystem::path last_weights() const { return folder_ / "last.safetensors"; }
  std::filesystem::path best_weights() const { return folder_ / "best.safetensors"; }
  std::filesystem::path last_state() const { return folder_ / "last.state"; }

  // The state last: it is what resuming reads, and it is complete in itself. Of the two before it
  // one is there at every moment, both until the new one was read back.
  void save_last(const TensorMap& weights, const CheckpointInfo& info, const TrainingState& state);
  void save_best(const TensorMap& weights, const CheckpointInfo& info);

 private:
  void remove_old_steps() const;

  std::filesystem::path folder_;
  std::int64_t keep_last_;
};

}  // namespace proxent
