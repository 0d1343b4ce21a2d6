#include "train/checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <system_error>

#include "data/parse_number.h"
#include "train/atomic_file.h"
#include "train/checksum.h"
#include "train/text.h"

namespace proxent {
namespace {

constexpr std::string_view kStepPrefix = "step-", kWeightsSuffix = ".safetensors";
constexpr const char* kStateFormat = "proxent-state-3";

// Fields of a TextMap, with errors that name the file.
class Fields {
 public:
  Fields(const TextMap& texts, const std::string& origin) : texts_(texts), origin_(origin) {}

  const std::string& text(const std::string& key) const {
    const auto found = texts_.find(key);
    check<DataError>(found != texts_.end(), origin_, ": the metadata lack '", key,
                     "'; proxent did not write this file");
    return found->second;
  }
  template <class T>
  T number(const std::string& key) const {
    const std::string& digits = text(key);
    const std::optional<T> value = parse_number<T>(digits);
    check<DataError>(value.has_value(), origin_, ": the metadata '", key,
                     "' should be a number, got '", digits, "'");
    return *value;
  }
  // What older files do not have.
  double number_or_0(const std::string& key) const {
    return texts_.contains(key) ? number<double>(key) : 0;
  }
  std::int64_t count(const std::string& key) const {
    const auto value = number<std::int64_t>(key);
    check<DataError>(value >= 0, origin_, ": the metadata '", key, "' is negative: ", value);
    return value;
  }
  std::int64_t count_or_0(const std::string& key) const {
    return texts_.contains(key) ? count(key) : 0;
  }
  // "120 240", or nothing where an older file does not have it.
  std::vector<std::int64_t> counts_or_none(const std::string& key) const {
    std::vector<std::int64_t> counts;
    if (!texts_.contains(key) || text(key).empty()) return counts;
    for (const std::string& digits : split(text(key), ' ')) {
      const auto value = parse_number<std::int64_t>(digits);
      check<DataError>(value && *value >= 0, origin_, ": the metadata '", key,
                       "' should be numbers of steps, got '", text(key), "'");
      counts.push_back(*value);
    }
    return counts;
  }
  RunningSpread spread(const std::string& key) const {
    const auto value = RunningSpread::from_text(text(key));
    check<DataError>(value.has_value(), origin_, ": the metadata '", key,
                     "' should be count, mean and variance, got '", text(key), "'");
    return *value;
  }

 private:
  const TextMap& texts_;
  const std::string& origin_;
};

}  // namespace

TextMap to_texts(const CheckpointInfo& info) {
  return {{"format", "pt"},  // what PyTorch's readers look for
          {"producer", "proxent"},
          {"arch", info.arch},
          {"config", info.config},
          {"step", fmt::format("{}", info.step)},
          {"epoch", fmt::format("{}", info.epoch)},
          {"metric", info.metric},
          {"value", fmt::format("{}", info.value)},
          {"selection", info.selection}};
}

CheckpointInfo checkpoint_info(const TextMap& texts, const std::string& origin) {
  const Fields fields(texts, origin);
  return {.arch = fields.text("arch"),
          .config = fields.text("config"),
          .step = fields.count("step"),
          .epoch = fields.count("epoch"),
          .metric = fields.text("metric"),
          .value = fields.number<double>("value"),
          .selection = texts.contains("selection") ? fields.text("selection") : ""};
}

TextMap to_texts(const Progress& progress) {
  TextMap texts{{"step", fmt::format("{}", progress.step)},
                {"epoch", fmt::format("{}", progress.epoch)},
                {"batch", fmt::format("{}", progress.batch)},
                {"images", fmt::format("{}", progress.images)},
                {"seconds", fmt::format("{}", progress.seconds)},
                {"best_epoch", fmt::format("{}", progress.best_epoch)},
                {"evals_since_best", fmt::format("{}", progress.evals_since_best)},
                {"lr_drops", fmt::format("{}", fmt::join(progress.lr_drops, " "))},
                {"evals_on_plateau", fmt::format("{}", progress.evals_on_plateau)},
                {"skipped", fmt::format("{}", progress.skipped)},
                {"nonfinite_in_row", fmt::format("{}", progress.nonfinite_in_row)},
                {"owes_evaluation", fmt::format("{:d}", progress.owes_evaluation)},
                {"logged_at", fmt::format("{}", progress.logged_at)},
                {"evaluated_at", fmt::format("{}", progress.evaluated_at)},
                {"saved_at", fmt::format("{}", progress.saved_at)},
                {"loss", progress.loss.text()},
                {"gradient_norm", progress.gradient_norm.text()}};
  if (progress.best) texts["best"] = fmt::format("{}", *progress.best);
  return texts;
}

Progress progress_of(const TextMap& texts, const std::string& origin) {
  const Fields fields(texts, origin);
  Progress progress{.step = fields.count("step"),
                    .epoch = fields.count("epoch"),
                    .batch = fields.count("batch"),
                    .images = fields.count("images"),
                    .seconds = fields.number<double>("seconds"),
                    .best = std::nullopt,
                    .best_epoch = fields.count("best_epoch"),
                    .evals_since_best = fields.count("evals_since_best"),
                    .lr_drops = fields.counts_or_none("lr_drops"),
                    .evals_on_plateau = fields.count_or_0("evals_on_plateau"),
                    .skipped = fields.count("skipped"),
                    .nonfinite_in_row = fields.count("nonfinite_in_row"),
                    .owes_evaluation = fields.number_or_0("owes_evaluation") > 0,
                    .logged_at = fields.number_or_0("logged_at"),
                    .evaluated_at = fields.number_or_0("evaluated_at"),
                    .saved_at = fields.number_or_0("saved_at"),
                    .loss = fields.spread("loss"),
                    .gradient_norm = fields.spread("gradient_norm")};
  if (texts.contains("best")) progress.best = fields.number<double>("best");
  return progress;
}

TensorMap model_state(const Modules& trees) {
  TensorMap tensors;
  const auto add = [&](const std::string& path, const Tensor& value) {
    check(tensors.emplace("model." + path, value).second, "checkpoint: two tensors are named '",
          path, "'");
  };
  for (Module* tree : trees) {
    for (const auto& [path, parameter] : tree->parameters()) add(path, parameter->value());
    for (const auto& [path, buffer] : tree->buffers()) add(path, buffer->value());
  }
  return tensors;
}

void restore(const TensorMap& into, const TensorMap& from, const std::string& origin) {
  std::string problems;
  for (const auto& [name, to] : into) {
    const auto found = from.find(name);
    if (found == from.end())
      problems += "\n  missing: " + name;
    else if (found->second.shape() != to.shape() || found->second.dtype() != to.dtype())
      problems += detail::concat("\n  differs: ", name, ", expected ", to, ", got ", found->second);
  }
  for (const auto& [name, tensor] : from)
    if (!into.contains(name)) problems += "\n  unexpected: " + name;
  check<DataError>(problems.empty(), origin,
                   ": this state is of another configuration, nothing was restored", problems);
  for (const auto& [name, to] : into) {
    Tensor place = to;
    place.copy_from(from.at(name).to(place.device()));
  }
}

void write_state(const std::filesystem::path& path, const TrainingState& state) {
  TextMap texts = state.texts;
  texts["format"] = kStateFormat;
  write_with_checksum(path, state.tensors, texts);
}

TrainingState read_state(const std::filesystem::path& path) {
  SafetensorsFile file = read_safetensors(path);
  const auto format = file.metadata.extract("format");
  check<DataError>(
      !format.empty() && format.mapped() == kStateFormat && take_checksum(file, path.string()),
      path.string(), ": not the state of a run; resume from ckpt/last.state");
  return {std::move(file.tensors), std::move(file.metadata)};
}

std::filesystem::path state_before(const std::filesystem::path& last) {
  return last.parent_path() / "previous.state";
}

TrainingState read_newest_state(const std::filesystem::path& last,
                                const std::function<void(const std::string&)>& warn) {
  std::string reason;
  try {
    return read_state(last);
  } catch (const DataError& error) {
    if (!std::filesystem::exists(state_before(last))) throw;
    reason = error.message();
  }
  try {
    TrainingState state = read_state(state_before(last));
    warn(reason + "; going on from " + state_before(last).string());
    // Or the next save would put it in the place of the one that is whole.
    std::error_code ignored;
    std::filesystem::rename(last, last.parent_path() / "damaged.state", ignored);
    return state;
  } catch (const DataError& error) {
    fail<DataError>(reason, "\nand the one before it: ", error.message());
  }
}

CheckpointFolder::CheckpointFolder(std::filesystem::path folder, std::int64_t keep_last)
    : folder_(std::move(folder)), keep_last_(keep_last) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  check<DataError>(!error, "cannot create the folder ", folder_.string(), ": ", error.message());
}

void CheckpointFolder::save_last(const TensorMap& weights, const CheckpointInfo& info,
                                 const TrainingState& state) {
  const TextMap texts = to_texts(info);
  if (keep_last_ > 1) {
    const std::string name = fmt::format("{}{:08}{}", kStepPrefix, info.step, kWeightsSuffix);
    write_with_checksum(folder_ / name, weights, texts);
    remove_old_steps();
  }
  write_with_checksum(last_weights(), weights, texts);
  // The two that are there stay until the new one is written and was read back whole.
  const std::filesystem::path next = folder_ / "next.state";
  write_state(next, state);
  read_state(next);
  if (std::filesystem::exists(last_state())) replace_file(last_state(), state_before(last_state()));
  replace_file(next, last_state());
}

void CheckpointFolder::save_best(const TensorMap& weights, const CheckpointInfo& info) {
  write_with_checksum(best_weights(), weights, to_texts(info));
}

void CheckpointFolder::remove_old_steps() const {
  std::vector<std::pair<std::int64_t, std::filesystem::path>> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    std::string name = entry.path().filename().string();
    if (!name.starts_with(kStepPrefix) || !name.ends_with(kWeightsSuffix)) continue;
    name =
        name.substr(kStepPrefix.size(), name.size() - kStepPrefix.size() - kWeightsSuffix.size());
    if (const auto step = parse_number<std::int64_t>(name)) files.push_back({*step, entry.path()});
  }
  std::sort(files.begin(), files.end());
  std::error_code ignored;  // a file that cannot be removed only costs space
  for (std::int64_t i = 0; i + keep_last_ < static_cast<std::int64_t>(files.size()); ++i)
    std::filesystem::remove(files[static_cast<std::size_t>(i)].second, ignored);
}

}  // namespace proxent
