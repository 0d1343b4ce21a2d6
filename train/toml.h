// TOML text as a flat list of dotted keys with their places, ready for Settings::assign.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "train/settings.h"

namespace proxent {

struct TomlEntry {
  std::string name;  // "optim.lr"
  GivenValue value;
  std::string place;  // "my.toml:12"
};

// In the order of the text. Throws UsageError "my.toml:12: ..." where the text is no TOML.
std::vector<TomlEntry> read_toml(std::string_view text, std::string_view source);
// The bytes of a configuration file. Throws UsageError if it cannot be read.
std::string read_config_file(const std::string& path);

}  // namespace proxent
