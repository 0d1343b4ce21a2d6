#include "train/saved_model.h"

#include "train/metrics_text.h"

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

// By the name that the run gave the file and the protocol of its configuration.
Selection selection_of(const fs::path& weights, const Config& config) {
  if (weights.stem() != "best") return Selection::last_epoch;
  return config.run.protocol == "paper" ? Selection::test_selected : Selection::val_selected;
}

}  // namespace

SavedModel find_saved_model(const fs::path& given) {
  SavedModel saved{.weights = weights_file(given)};
  const std::string name = saved.weights.string();
  saved.info = checkpoint_info(read_safetensors_header(saved.weights).metadata, name);
  saved.selection = name_of(selection_of(saved.weights, config_from_toml(saved.info.config, name)));
  return saved;
}

std::unique_ptr<EmbeddingModel> load_saved_model(const SavedModel& saved,
                                                 const ModelConfig& config) {
  std::unique_ptr<EmbeddingModel> model = build_model(config, 0);
  load_weights({model.get()}, saved.weights);
  model->set_training(false);
  return model;
}

}  // namespace proxent
