// One command of the binary: its help page and the values its flags, configuration files and
// environment fill. Flags are `--key value`, `--key=value`, `--no-key` for a boolean, `-k value`.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/config.h"
#include "train/settings.h"

namespace proxent {

struct CommandText {
  std::string name;                                           // "data check"
  std::string usage;                                          // "CHECKPOINT [flags]"
  std::string summary;                                        // one line
  std::string about;                                          // paragraphs
  std::vector<std::pair<std::string, std::string>> examples;  // command line, what it does
  std::string output;  // what goes to stdout and which files are written; empty: left out
};

// Which part of the configuration a command takes.
struct ConfigUse {
  std::vector<std::string> sections;  // whose keys are flags; the others come from files only
  bool has_auto_preset = false;       // --preset auto looks at the data set
  // apply() sets values, without asking whether they go together and without --print-config.
  bool is_first_look = false;
};

class CommandLine {
 public:
  explicit CommandLine(CommandText text);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // Rows of the command itself: line.settings().add("rows", &options.rows, "...").
  Settings& settings() { return settings_; }
  // Arguments that are no flags, in this order; only the last may be a list.
  void positional(std::string name, std::string* target, std::string help, bool is_required = true);
  void positional(std::string name, std::vector<std::string>* target, std::string help,
                  bool is_required = true);
  // Every key of the configuration, and -c, --preset and --print-config. Call it last: its
  // sections come below the command's own.
  void add_config(Config& config, ConfigUse use);

  // Reads the arguments that follow the command's name; throws UsageError. False: --help was asked
  // for and printed on stdout, there is nothing else to do. Positionals are set now, settings wait.
  bool read(const std::vector<std::string>& arguments);
  // Sets the settings: defaults < base < preset < files < environment < arguments. `base` is TOML
  // text such as a checkpoint's configuration, called `base_name` where it is wrong. False:
  // --print-config was asked for and printed on stdout.
  bool apply(std::string_view base = {}, std::string_view base_name = {});
  // Both, for commands whose base does not depend on their arguments.
  bool parse(const std::vector<std::string>& arguments) { return read(arguments) && apply(); }

  std::string help(int width) const;
  // The part of it about one section of the configuration.
  std::string section_help(const std::string& section, int width) const;
  // The configuration as TOML that can be fed back with -c; names the preset and each source.
  std::string config_text(bool only_changed = false) const;

 private:
  struct Assignment {
    Setting* setting;
    GivenValue value;
    std::string label, source;
  };
  struct Positional {
    std::string name, help;
    std::string* single;
    std::vector<std::string>* list;
    bool is_required;
  };
  using Layer = std::vector<Assignment>;

  void read_arguments(const std::vector<std::string>& arguments);
  std::size_t read_flag(const std::vector<std::string>& arguments, std::size_t i);
  [[noreturn]] void fail_unknown_flag(const std::string& flag) const;
  void set_positionals();
  void read_environment();
  Layer toml_layer(std::string_view text, std::string_view source);
  Layer file_layer();
  void assign(const Layer& layer);
  std::string last_given(const std::string& key, const Layer& files) const;

  CommandText text_;
  Settings settings_;
  std::vector<Positional> positionals_;
  std::vector<std::string> words_;  // arguments that are no flags
  Layer environment_, arguments_;

  Config* config_ = nullptr;
  ConfigUse use_;
  std::vector<std::string> files_;
  std::string preset_ = "auto", used_preset_, print_config_ = "none";
  bool wants_help_ = false, is_verbose_ = false;
};

// The setting `json` of commands that have their result as JSON too.
void add_json(Settings& settings, bool* is_json);

// Throws UsageError unless the file that a flag names ends in .png, as which it is written.
void check_is_png(const std::string& file, std::string_view flag);

}  // namespace proxent
