#include "train/presets.h"

#include "tensor/check.h"
#include "train/config.h"
#include "train/text.h"

namespace proxent {

namespace {

const std::vector<Preset>& own_presets() {
  static const std::vector<Preset> all = {
      {"glyphs-demo", "letters of the system's fonts: learn Latin, retrieve Greek and Cyrillic", R"(
[data]
dataset = "glyphs"
image_size = 32
crop = "none"
hflip = 0
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[batch]
size = 64
[model]
stem = "compact"
embed_dim = 128
[loss]
proxies = 2
weight_inter = 0
proxy_lr_mult = 10
[optim]
lr = 1e-3
lr_warmup = "20it"
[run]
name = "demo"
steps = 220
protocol = "last"
baselines = true
)"},
      {"fashion-mnist", "photographs of clothes: learn five kinds, retrieve the other five", R"(
[data]
dataset = "fashion-mnist"
image_size = 28
crop = "none"
mean = [0.286, 0.286, 0.286]
std = [0.353, 0.353, 0.353]
[batch]
size = 128
[model]
stem = "small"
embed_dim = 128
[loss]
weight_inter = 0
proxy_lr_mult = 10
[optim]
lr = 1e-3
lr_warmup = "20it"
[run]
epochs = 3
val_classes = 0.4
)"},
      {"subclass-glyphs", "letters with both cases in one class: do proxies find the cases?", R"(
[data]
dataset = "glyph-cases"
[model]
width = 16
[loss]
proxies = "auto"
[optim]
lr = 6e-3
[run]
name = ""
steps = 1200
baselines = false
)",
       "glyphs-demo"},
      {"subclass-fashion", "clothes in four coarse classes: do proxies find the ten kinds?", R"(
[data]
dataset = "fashion-mnist-coarse"
image_size = 28
hflip = 0.5
mean = [0.286, 0.286, 0.286]
std = [0.353, 0.353, 0.353]
[loss]
sigma_a = 5
[optim]
lr = 3e-3
)",
       "subclass-glyphs"},
      {"cub-cpu", "birds at 128 px from ImageNet weights, a recipe for two processor cores", R"(
[data]
image_size = 128
resize = 144
rrc_scale = [0.25, 1.0]
cache = "decoded"
[batch]
size = 64
[model]
arch = "resnet18"
partial = true
pool = "avg+max"
embed_dim = 512
freeze = ["conv1", "bn1", "layer1"]
warmup_head = "1ep"
[loss]
proxies = 2
weight_inter = 0
proxy_lr_mult = 30
[optim]
lr = 3e-4
wd = 1e-3
clip_norm = 10
lr_warmup = "1ep"
[run]
epochs = 16
protocol = "last"
baselines = true
eval_every = "0it"
)"},
      {"smoke", "a few steps on a few glyphs, to see that everything works", R"(
[data]
dataset = "glyphs"
image_size = 32
crop = "none"
hflip = 0
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[batch]
size = 32
[model]
stem = "small"
embed_dim = 32
[loss]
proxies = 2
proxy_lr_mult = 10
[optim]
lr = 1e-3
[run]
steps = 8
eval_every = "4it"
limit_train = 512
limit_test = 256
[log]
log_every = "1it"
)"},
  };
  return all;
}

}  // namespace

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = [] {
    std::vector<Preset> list = own_presets();
    list.insert(list.end(), paper_presets().begin(), paper_presets().end());
    return list;
  }();
  return all;
}

const Preset& preset_named(std::string_view name) {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) {
    if (preset.name == name) return preset;
    names.emplace_back(preset.name);
  }
  fail<UsageError>("no preset '", name, "': expected auto, none, ", one_of(names), ".",
                   suggestion(name, names));
}

std::vector<const Preset*> layers_of(const Preset& preset) {
  std::vector<const Preset*> layers;
  if (!preset.base.empty()) layers = layers_of(preset_named(preset.base));
  layers.push_back(&preset);
  return layers;
}

Config config_of(const Preset& preset) {
  Config config;
  for (const Preset* part : layers_of(preset))
    config = config_from_toml(part->toml, part->name, std::move(config));
  return config;
}

const Preset* preset_for_data(std::string_view dataset, std::string_view path) {
  if (dataset == "fashion-mnist") return &preset_named("fashion-mnist");
  if (dataset == "fashion-mnist-coarse") return &preset_named("subclass-fashion");
  if (dataset == "glyph-cases") return &preset_named("subclass-glyphs");
  const bool is_glyphs = dataset == "glyphs" || (dataset == "auto" && path.empty());
  return is_glyphs ? &preset_named("glyphs-demo") : nullptr;
}

}  // namespace proxent
