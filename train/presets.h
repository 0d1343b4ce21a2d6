// Named configurations that come with the binary: `--preset NAME`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace proxent {

struct Config;

struct Preset {
  std::string_view name;
  std::string_view summary;
  std::string_view toml;
  std::string_view base = {};  // the preset that `toml` changes; empty: the defaults
};

// All of them, and of these the recipes of papers (recipes.cpp).
const std::vector<Preset>& presets();
const std::vector<Preset>& paper_presets();
// Throws UsageError with the nearest name.
const Preset& preset_named(std::string_view name);
// What a preset is made of, to be applied in this order: the first of its bases ... itself.
std::vector<const Preset*> layers_of(const Preset& preset);
// The defaults as it changes them.
Config config_of(const Preset& preset);
// The preset that `--preset auto` takes for this data.dataset and data.path; null if none.
const Preset* preset_for_data(std::string_view dataset, std::string_view path);

}  // namespace proxent
