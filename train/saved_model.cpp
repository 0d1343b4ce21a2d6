#include "train/saved_model.h"

namespace proxent {
namespace fs = std::filesystem;
namespace {

fs::path weights_file(const fs::path& given) {
  if (!fs::is_directory(given)) return given;
  for (const fs::path& folder : {given / "ckpt", given})
    for (const char* name : {"best.safetensors", "last.safetensors"})
      if (fs::exists(folder / name)) return folder / name;
  fail<DataError>(given.string(),
                  ": no weights here; expected a run's folder with ckpt/best.safetensors or "
                  "ckpt/last.safetensors");
}

}  // namespace

SavedModel find_saved_model(const fs::path& given) {
  SavedModel saved{.weights = weights_file(given)};
  const std::string name = saved.weights.string();
  saved.info = checkpoint_info(read_safetensors_header(saved.weights).metadata, name);
  const Config config = config_from_toml(saved.info.config, name);
  // The run named the file: best was chosen as its protocol says, last was not chosen at all.
  const bool is_best = saved.weights.stem() == "best";
  saved.selection = is_best ? selection_of(config.run.protocol) : Selection::last_epoch;
  return saved;
}

std::unique_ptr<EmbeddingModel> load_saved_model(const SavedModel& saved, const ModelConfig& config,
                                                 Device device) {
  std::unique_ptr<EmbeddingModel> model = build_model(config, 0);
  load_weights({model.get()}, saved.weights);
  model->move_to(device);
  model->set_training(false);
  return model;
}

}  // namespace proxent
