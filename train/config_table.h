// The table behind Config: adds one row per key to a command's settings.
#pragma once

#include <string>

#include "train/config.h"
#include "train/settings.h"
#include "train/toml.h"

namespace proxent {

// Sections data, batch, model, loss, optim, run, log and debug, bound to `config`, whose present
// values become the defaults. `config` must outlive the settings.
void add_config(Settings& settings, Config& config);

// Once all values are set: spells out run.metrics ("r@1,2" is r@1 and r@2), then check_config.
void finish_config(Config& config);

// A configuration of its own with its table: values are the given ones, defaults those of Config.
class ConfigTable {
 public:
  explicit ConfigTable(Config config = {});
  ConfigTable(const ConfigTable&) = delete;
  ConfigTable& operator=(const ConfigTable&) = delete;

  Config& config() { return config_; }
  Settings& settings() { return settings_; }
  const std::deque<Setting>& rows() const { return settings_.rows(); }
  // A value as people read it, with a '*' behind it if it is not the default: "3e-4*" for
  // "optim.lr".
  std::string operator()(std::string_view key) const;

 private:
  Config config_;
  Settings settings_;
};

enum class TomlStyle {
  plain,      // every key, nothing else
  annotated,  // and where each value came from; '*' marks what is not the default
  changed,    // only what is not the default, annotated
};
std::string to_toml(const Settings& settings, TomlStyle style);

// A key of earlier versions at the value at which it did nothing: their runs and weights have it.
bool is_retired(const TomlEntry& entry);
// Throws UsageError with the nearest name; `place` is "my.toml:12".
[[noreturn]] void fail_unknown_key(const Settings& settings, const std::string& name,
                                   const std::string& place);

}  // namespace proxent
