// The table of a command's settings: one row per key, bound to the variable it fills. The row is
// the only description; flags, TOML keys, environment variables, --help, --print-config, range
// checks and suggestions for misspelt names all come from it.
#pragma once

#include <deque>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "train/duration.h"

namespace proxent {

// The numbers a setting may take.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool excludes_low = false, excludes_high = false;
};
inline Range at_least(double low) { return {.low = low}; }
inline Range above(double low) { return {.low = low, .excludes_low = true}; }
inline Range between(double low, double high) { return {low, high}; }

struct SettingOptions {
  std::string flag = {};                  // --flag; otherwise the key with '-' for '_'
  char letter = 0;                        // -c
  std::string value = {};                 // what --help calls the value; otherwise by type
  std::vector<std::string> choices = {};  // the texts allowed
  Range range = {};                       // of each number
  bool takes_time = true;                 // a Duration may be a span of time ...
  bool takes_steps = true;                // ... and of iterations or epochs
  bool is_added_to = false;               // a list that each use of the flag makes longer
  std::string without_value = {};         // the flag may stand alone and then means this
};

using SettingTarget =
    std::variant<bool*, std::int64_t*, double*, std::string*, Duration*,
                 std::optional<std::int64_t>*, std::optional<double>*, std::span<double>,
                 std::vector<std::string>*, std::vector<std::int64_t>*>;

struct Setting {
  std::string section, key;  // "optim", "lr"; section is empty for a command's own flags
  SettingTarget target;
  std::string help;
  SettingOptions options;
  std::string initial, plain_initial;  // the default, as value_text() and plain_text()
  std::string source;   // who set the value last: "--lr", "my.toml:12"; empty: nobody
  bool is_flag = true;  // false: known to files, no flag of this command

  std::string name() const { return section.empty() ? key : section + "." + key; }
  bool is_boolean() const { return std::holds_alternative<bool*>(target); }
  std::string value_text() const;  // the value as TOML
  std::string plain_text() const;  // as people say it: no quotes, no brackets, 4 digits of 4/3
  bool is_default() const { return value_text() == initial; }
};

// A value as it was written, before it is known whether it fits.
struct GivenValue {
  // untyped: from the command line or the environment, where everything is text.
  enum class Kind { untyped, boolean, integer, real, string, other };
  Kind kind = Kind::untyped;
  std::vector<std::string> items;  // one, or those of a list
  bool is_list = false;
};

class Settings {
 public:
  struct Section {
    std::string name, title;
  };

  // Rows added from now on belong to this section.
  void section(std::string name, std::string title);
  Setting& add(std::string key, SettingTarget target, std::string help,
               SettingOptions options = {});

  const std::vector<Section>& sections() const { return sections_; }
  const std::deque<Setting>& rows() const { return rows_; }
  std::deque<Setting>& rows() { return rows_; }

  // By "optim.lr"; '-' and '_' are the same. Null if there is none.
  Setting* find_key(std::string_view name);
  const Setting* find_key(std::string_view name) const {
    return const_cast<Settings*>(this)->find_key(name);
  }
  // By "lr", "optim.lr" or a single letter, without the dashes. Null if there is none.
  Setting* find_flag(std::string_view name);
  // By "PROXENT_LR" or "PROXENT_OPTIM_LR".
  Setting* find_variable(std::string_view name);

  // Throws UsageError that calls the assignment `label` ("--lr fast", "optim.lr in my.toml:12")
  // and tells what would be right.
  void assign(Setting& setting, const GivenValue& given, const std::string& label,
              const std::string& source);

  // Candidates for suggestions: dotted names, and flags without dashes.
  std::vector<std::string> key_names() const;
  std::vector<std::string> flag_names() const;

 private:
  std::vector<Section> sections_;
  std::deque<Setting> rows_;  // a deque, so that references to rows stay valid
};

// A TOML basic string with quotes.
std::string quoted(std::string_view text);
// What the setting accepts: "a number above 0", "rrc, random, center or none".
std::string expectation(const Setting& setting);

}  // namespace proxent
