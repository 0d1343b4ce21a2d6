// Named configurations that come with the binary: `--preset NAME`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace proxent {

struct Preset {
  std::string_view name;
  std::string_view summary;
  std::string_view toml;
};

// All of them, and of these the recipes of papers (recipes.cpp).
const std::vector<Preset>& presets();
const std::vector<Preset>& paper_presets();
// Throws UsageError with the nearest name.
const Preset& preset_named(std::string_view name);
// The preset that `--preset auto` takes for this data.dataset and data.path; null if none.
const Preset* preset_for_data(std::string_view dataset, std::string_view path);

}  // namespace proxent
