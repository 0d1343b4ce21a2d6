#include "train/saved_model.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "train/describe.h"
#include "train/input_file.h"
#include "train/loss.h"

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

// The file says how its weights were chosen, whatever it is called by now. Of a file that does not,
// written by an older version, its name tells: best was chosen as the run's protocol says, last was
// not chosen at all.
Selection selection_in(const SavedModel& saved, const Config& config) {
  if (!saved.info.selection.empty())
    return selection_from_name(saved.info.selection, saved.weights.string());
  const bool is_best = saved.weights.stem() == "best";
  return is_best ? selection_of(config.run.protocol) : Selection::last_epoch;
}

// Before a reader takes the first bytes of a picture for the size of a header.
void check_kind(const fs::path& weights) {
  std::array<char, 9> start{};
  const InputFile file(weights);
  if (file.size() >= std::ssize(start)) file.read(start.data(), 0, std::ssize(start));
  if (start.back() == '{') return;
  std::string found = describe_file(weights);
  found = found.substr(0, found.find('\n'));
  if (found.ends_with(", begins")) found = found.substr(0, found.rfind(", begins"));
  fail<DataError>(found, "; expected a run's folder or a .safetensors file that a run wrote");
}

// A configuration may claim a model of any size: none is built that the file's tensors, which lie
// within the file, would not fill.
void check_size(const SavedModel& saved, const ModelConfig& config) {
  const auto shapes = build_shapes(config);
  std::int64_t expected = 0, found = 0;
  for (const auto& [path, parameter] : shapes->parameters()) expected += parameter->value().numel();
  for (const auto& [path, buffer] : shapes->buffers()) expected += buffer->value().numel();
  for (const SafetensorsEntry& entry : read_safetensors_header(saved.weights).entries)
    found += std::accumulate(entry.shape.begin(), entry.shape.end(), std::int64_t{1},
                             std::multiplies<>());
  check<DataError>(expected <= found, saved.weights.string(), ": holds ", found,
                   " numbers, the model of its configuration has ", expected,
                   "; is the file a part of the run's, or damaged?");
}

}  // namespace

SavedModel find_saved_model(const fs::path& given) {
  SavedModel saved{.weights = weights_file(given)};
  check_kind(saved.weights);
  const std::string name = saved.weights.string();
  const TextMap texts = read_safetensors_header(saved.weights).metadata;
  check<DataError>(saved.weights.extension() != ".state", name,
                   ": the state of a run, which --resume goes on from; its weights are in ",
                   saved.weights.parent_path().string(), "/last.safetensors");
  saved.info = checkpoint_info(texts, name);
  const Config config = config_from_toml(saved.info.config, name);
  saved.selection = selection_in(saved, config);
  return saved;
}

std::unique_ptr<EmbeddingModel> load_saved_model(const SavedModel& saved, const ModelConfig& config,
                                                 Device device) {
  check_size(saved, config);
  std::unique_ptr<EmbeddingModel> model = build_model(config, 0);
  load_weights({model.get()}, saved.weights);
  model->move_to(device);
  model->set_training(false);
  return model;
}

std::unique_ptr<MetricLoss> load_saved_loss(const SavedModel& saved) {
  const auto entries = read_safetensors_header(saved.weights).entries;
  const auto proxies = std::ranges::find(entries, "proxies", &SafetensorsEntry::name);
  if (proxies == entries.end() || proxies->shape.size() != 3) return nullptr;
  const std::string name = saved.weights.string();
  const Config config = config_from_toml(saved.info.config, name);
  const std::int64_t per_class = proxies_per_class(config.loss);
  check<DataError>(proxies->shape[1] == per_class && proxies->shape[2] == config.model.embed_dim,
                   name, ": its configuration has ", counted(per_class, "proxy", "proxies"),
                   " per class of ", config.model.embed_dim, " features, the file ",
                   proxies->shape[1], " of ", proxies->shape[2], "; is it damaged?");
  std::unique_ptr<MetricLoss> loss = build_loss(config, proxies->shape[0]);
  TensorMap tensors = read_safetensors(saved.weights).tensors;
  const TensorMap own = weights_of({loss.get()});
  std::erase_if(tensors, [&](const auto& named) { return !own.contains(named.first); });
  load_weights({loss.get()}, tensors, {.origin = name});
  loss->set_training(false);
  return loss;
}

}  // namespace proxent
