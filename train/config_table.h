// The table behind Config: adds one row per key to a command's settings.
#pragma once

#include <string>

#include "train/config.h"
#include "train/settings.h"

namespace proxent {

// Sections data, batch, model, loss, optim, run, log and debug, bound to `config`, whose present
// values become the defaults. `config` must outlive the settings.
void add_config(Settings& settings, Config& config);

// Once all values are set: spells out run.metrics ("r@1,2" is r@1 and r@2), then check_config.
void finish_config(Config& config);

// Values as people read them, with a '*' behind each that is not the default.
class SettingTexts {
 public:
  explicit SettingTexts(const Config& config);
  SettingTexts(const SettingTexts&) = delete;
  SettingTexts& operator=(const SettingTexts&) = delete;

  std::string operator()(std::string_view key) const;  // "optim.lr" -> "3e-4*"

 private:
  Config config_;
  mutable Settings settings_;
};

enum class TomlStyle {
  plain,      // every key, nothing else
  annotated,  // and where each value came from; '*' marks what is not the default
  changed,    // only what is not the default, annotated
};
std::string to_toml(const Settings& settings, TomlStyle style);

// Throws UsageError with the nearest name; `place` is "my.toml:12".
[[noreturn]] void fail_unknown_key(const Settings& settings, const std::string& name,
                                   const std::string& place);

}  // namespace proxent
