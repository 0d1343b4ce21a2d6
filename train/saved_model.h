// A trained network as a run left it, found on the disk and rebuilt from the configuration inside.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "losses/metric_loss.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/embed.h"
#include "train/model.h"
#include "train/selection.h"

namespace proxent {

struct SavedModel {
  std::filesystem::path weights;
  CheckpointInfo info;  // its configuration among it
  Selection selection;  // how these weights were chosen
};

// Looks at a .safetensors file of a run, or finds it in a run's folder or its ckpt/: the best
// weights, or the last ones where nothing chose any. Throws DataError when there are none, or when
// the file does not carry a configuration because proxent did not write it.
SavedModel find_saved_model(const std::filesystem::path& given);

// The network that `config` describes with these weights, on `device` and in evaluation mode.
// Throws DataError listing what does not fit.
std::unique_ptr<EmbeddingModel> load_saved_model(const SavedModel& saved, const ModelConfig& config,
                                                 Device device);

// The loss that the run trained with, holding these weights' proxies of so many classes as the file
// has; null where it has none. On the CPU, in evaluation mode.
std::unique_ptr<MetricLoss> load_saved_loss(const SavedModel& saved);

}  // namespace proxent
