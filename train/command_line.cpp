#include "train/command_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "tensor/check.h"
#include "train/config_table.h"
#include "train/exit_code.h"
#include "train/presets.h"
#include "train/terminal.h"
#include "train/text.h"
#include "train/toml.h"

namespace proxent {
namespace {

GivenValue untyped(std::string text) {
  GivenValue value;
  value.items.push_back(std::move(text));
  return value;
}

// "-1", "-.5": a value, although it begins with a dash.
bool looks_like_value(const std::string& text) {
  return text.size() < 2 || text[0] != '-' || text[1] == '.' || std::isdigit(text[1]);
}

std::string value_name(const Setting& row) {
  const SettingOptions& options = row.options;
  if (!options.value.empty()) return options.value;
  if (!options.choices.empty()) return join(options.choices, "|");
  if (row.is_boolean()) return "";
  if (std::holds_alternative<std::string*>(row.target)) return "TEXT";
  if (std::holds_alternative<Duration*>(row.target)) return "SPAN";
  const bool is_whole = std::holds_alternative<std::int64_t*>(row.target) ||
                        std::holds_alternative<std::optional<std::int64_t>*>(row.target);
  if (std::holds_alternative<std::vector<std::int64_t>*>(row.target)) return "N,N...";
  return is_whole ? "N" : "X";
}

// The default as a person types it: no quotes, no brackets, nothing for empty and off.
std::string default_name(const Setting& row) {
  if (row.initial == "false" || row.initial == "\"\"" || row.initial == "[]") return "";
  return row.plain_initial;
}

constexpr int kHelpColumn = 28;  // where descriptions begin

void add_row_help(std::string& page, const std::string& left, const std::string& help, int width) {
  page += left;
  const auto lines = wrap(help, std::max(30, width - kHelpColumn));
  int column = display_width(left);
  for (const std::string& line : lines) {
    if (column > kHelpColumn - 2) {
      page += "\n";
      column = 0;
    }
    page += std::string(static_cast<std::size_t>(kHelpColumn - column), ' ') + line + "\n";
    column = 0;
  }
}

void add_setting_help(std::string& page, const Setting& row, int width) {
  std::string left =
      row.options.letter ? fmt::format("  -{}, --", row.options.letter) : std::string("      --");
  left += row.is_boolean() && row.initial == "true" ? "[no-]" + row.options.flag : row.options.flag;
  const std::string value = value_name(row);
  if (!row.options.without_value.empty())
    left += "[=" + value + "]";
  else if (!value.empty())
    left += " " + value;
  const std::string standard = default_name(row);
  add_row_help(page, left, row.help + (standard.empty() ? "" : " [" + standard + "]"), width);
}

}  // namespace

CommandLine::CommandLine(CommandText text) : text_(std::move(text)) {}

void CommandLine::positional(std::string name, std::string* target, std::string help,
                             bool is_required) {
  positionals_.push_back({std::move(name), std::move(help), target, nullptr, is_required});
}

void CommandLine::positional(std::string name, std::vector<std::string>* target, std::string help,
                             bool is_required) {
  positionals_.push_back({std::move(name), std::move(help), nullptr, target, is_required});
}

void CommandLine::add_config(Config& config, ConfigUse use) {
  config_ = &config;
  use_ = std::move(use);
  settings_.add("config", &files_, "read settings from this TOML file; several: the later wins",
                {.letter = 'c', .value = "FILE", .is_added_to = true});
  std::string names;
  for (const Preset& preset : presets()) names += ", " + std::string(preset.name);
  if (!use_.has_auto_preset) preset_ = "none";
  settings_.add("preset", &preset_,
                "named settings: none" + names +
                    (use_.has_auto_preset ? "; auto: the one that fits the data set" : ""),
                {.value = "NAME"});
  settings_.add("print_config", &print_config_,
                "print the settings as TOML that -c reads back, and where each came from; changed: "
                "only those that are not the default",
                {.choices = {"none", "full", "changed"}, .without_value = "full"});
  proxent::add_config(settings_, config);
  for (Setting& row : settings_.rows())
    row.is_flag = row.section.empty() || std::find(use_.sections.begin(), use_.sections.end(),
                                                   row.section) != use_.sections.end();
}

bool CommandLine::read(const std::vector<std::string>& arguments) {
  read_arguments(arguments);
  if (wants_help_) {
    print_out(help(std::min(terminal_on(Stream::out).columns(), 110)));
    return false;
  }
  set_positionals();
  if (config_) read_environment();
  return true;
}

void CommandLine::read_arguments(const std::vector<std::string>& arguments) {
  bool has_ended = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (has_ended || argument.size() < 2 || argument[0] != '-')
      words_.push_back(argument);
    else if (argument == "--")
      has_ended = true;
    else if (argument == "-h" || argument == "--help")
      wants_help_ = true;
    else if (argument == "-v" || argument == "--verbose")
      is_verbose_ = true;
    else
      i = read_flag(arguments, i);
  }
}

// Adds the assignment of the flag at i and its value; returns the index of the last part used.
std::size_t CommandLine::read_flag(const std::vector<std::string>& arguments, std::size_t i) {
  const std::string& argument = arguments[i];
  const bool is_long = argument.starts_with("--");
  const auto equals = argument.find('=');
  std::string name = argument.substr(is_long ? 2 : 1, equals - (is_long ? 2 : 1));
  bool has_value = equals != std::string::npos;
  std::string value = has_value ? argument.substr(equals + 1) : "";
  if (!is_long && !has_value && name.size() > 1) {  // -b64
    has_value = true;
    value = name.substr(1);
    name.resize(1);
  }

  Setting* setting = is_long || name.size() == 1 ? settings_.find_flag(name) : nullptr;
  if (!is_long && setting && setting->options.letter != name[0]) setting = nullptr;
  if (!setting && is_long && name.starts_with("no-")) {
    setting = settings_.find_flag(name.substr(3));
    if (setting && setting->is_boolean() && !has_value) {
      has_value = true;
      value = "false";
    } else {
      setting = nullptr;
    }
  }
  const std::string label = (is_long ? "--" : "-") + name;
  if (!setting || !setting->is_flag) fail_unknown_flag(argument);

  if (!has_value && setting->is_boolean()) {
    value = "true";
  } else if (!has_value && !setting->options.without_value.empty()) {
    value = setting->options.without_value;
  } else if (!has_value) {
    const bool is_there = i + 1 < arguments.size() && looks_like_value(arguments[i + 1]);
    check<UsageError>(is_there, label, " needs a value: ", expectation(*setting), ".");
    value = arguments[++i];
  }
  arguments_.push_back({setting, untyped(value), label, label});
  return i;
}

void CommandLine::fail_unknown_flag(const std::string& flag) const {
  const auto first = std::min(flag.find_first_not_of('-'), flag.size());
  const std::string name = flag.substr(first, flag.find('=') - first);
  std::string names;
  for (const Setting& row : settings_.rows()) {
    if (row.is_flag || (row.options.flag != name && row.name() != name)) continue;
    fail<UsageError>("--", name, " is no flag of 'proxent ", text_.name, "'; ", row.name(),
                     " is taken from a configuration file (-c).");
  }
  const auto nearest = nearest_name(name, settings_.flag_names());
  fail<UsageError>("unknown flag '", flag.substr(0, flag.find('=')), "'.",
                   nearest ? " Did you mean '--" + *nearest + "'?" : "", " (proxent ", text_.name,
                   " --help)");
}

void CommandLine::set_positionals() {
  std::size_t next = 0;
  for (const Positional& positional : positionals_) {
    check<UsageError>(next < words_.size() || !positional.is_required, positional.name,
                      " is missing: ", positional.help, ". Usage: proxent ", text_.name, " ",
                      text_.usage);
    if (positional.list) {
      positional.list->assign(words_.begin() + static_cast<std::ptrdiff_t>(next), words_.end());
      next = words_.size();
    } else if (next < words_.size()) {
      *positional.single = words_[next++];
    }
  }
  if (next == words_.size()) return;
  const std::string name = words_[next].substr(0, words_[next].find('='));
  const auto nearest = nearest_name(name, settings_.flag_names());
  fail<UsageError>("unexpected argument '", words_[next], "'.",
                   nearest ? " Flags begin with dashes: --" + *nearest + "." : "", " (proxent ",
                   text_.name, " --help)");
}

void CommandLine::read_environment() {
  constexpr std::string_view kPrefix = "PROXENT_";
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (!text.starts_with(kPrefix) || equals == std::string_view::npos) continue;
    const std::string name(text.substr(0, equals));
    Setting* setting = settings_.find_variable(name);
    const bool is_known = setting && (!setting->section.empty() || setting->key == "config" ||
                                      setting->key == "preset");
    if (!is_known) {
      std::vector<std::string> names;
      auto keys = settings_.key_names();
      for (const std::string& flag : settings_.flag_names()) keys.push_back(flag);
      for (std::string key : keys) {
        std::transform(key.begin(), key.end(), key.begin(), [](unsigned char c) {
          return c == '.' || c == '-' ? '_' : static_cast<char>(std::toupper(c));
        });
        names.push_back(std::string(kPrefix) + key);
      }
      fail<UsageError>("the environment variable ", name, " names no setting.",
                       suggestion(name, names), " Unset it or mend its name.");
    }
    environment_.push_back({setting, untyped(std::string(text.substr(equals + 1))), name, name});
  }
}

CommandLine::Layer CommandLine::toml_layer(std::string_view text, std::string_view source) {
  Layer layer;
  for (TomlEntry& entry : read_toml(text, source)) {
    if (is_retired(entry)) continue;
    Setting* setting = settings_.find_key(entry.name);
    const bool is_preset = entry.name == "preset";
    if (!setting || (setting->section.empty() && !is_preset))
      fail_unknown_key(settings_, entry.name, entry.place);
    layer.push_back({setting, std::move(entry.value), entry.name + " in " + entry.place,
                     std::string(entry.place)});
  }
  return layer;
}

CommandLine::Layer CommandLine::file_layer() {
  Layer layer;
  for (const std::string& path : files_)
    for (Assignment& one : toml_layer(read_config_file(path), path))
      layer.push_back(std::move(one));
  return layer;
}

void CommandLine::assign(const Layer& layer) {
  for (const Assignment& one : layer)
    settings_.assign(*one.setting, one.value, one.label, one.source);
}

// The text last given for a key; empty if nobody gave one.
std::string CommandLine::last_given(const std::string& key, const Layer& files) const {
  std::string text;
  for (const Layer* layer : {&files, &environment_, &arguments_})
    for (const Assignment& one : *layer)
      if (one.setting->name() == key) text = join(one.value.items, ",");
  return text;
}

bool CommandLine::apply(std::string_view base, std::string_view base_name) {
  // The command's own settings first: they tell which files to read.
  const auto split_off_own = [](Layer& layer) {
    const auto is_own = [](const Assignment& one) { return one.setting->section.empty(); };
    Layer own;
    std::copy_if(layer.begin(), layer.end(), std::back_inserter(own), is_own);
    std::erase_if(layer, is_own);
    return own;
  };
  assign(split_off_own(environment_));
  assign(split_off_own(arguments_));
  if (!config_) return true;

  Layer files = file_layer();
  if (settings_.find_key("preset")->source.empty()) assign(split_off_own(files));
  split_off_own(files);
  assign(toml_layer(base, base_name));
  const Preset* preset = nullptr;
  if (preset_ == "auto" && use_.has_auto_preset) {
    const std::string dataset = last_given("data.dataset", files);
    preset = preset_for_data(dataset.empty() ? "auto" : dataset, last_given("data.path", files));
  } else if (preset_ != "auto" && preset_ != "none") {
    preset = &preset_named(preset_);
  }
  if (preset) {
    used_preset_ = preset->name;
    for (const Preset* part : layers_of(*preset)) {
      const std::string source = "preset " + std::string(part->name);
      Layer layer = toml_layer(part->toml, source);
      for (Assignment& one : layer) one.source = source;
      assign(layer);
    }
  }
  assign(files);
  assign(environment_);
  assign(arguments_);
  if (use_.is_first_look) return true;
  finish_config(*config_);
  if (print_config_ == "none") return true;
  print_out(config_text(print_config_ == "changed"));
  return false;
}

std::string CommandLine::config_text(bool only_changed) const {
  std::string text =
      "# proxent configuration; read it back with -c FILE. '*' marks what is not the default.\n";
  text += "preset = \"none\"";
  if (!used_preset_.empty()) text += "  # the values below include those of preset " + used_preset_;
  return text + "\n\n" +
         to_toml(settings_, only_changed ? TomlStyle::changed : TomlStyle::annotated);
}

std::string CommandLine::section_help(const std::string& name, int width) const {
  std::string page;
  for (const Settings::Section& section : settings_.sections()) {
    if (section.name != name) continue;
    for (const Setting& row : settings_.rows())
      if (row.section == name && row.is_flag) add_setting_help(page, row, width);
    if (!page.empty()) page = bold(name) + ": " + section.title + "\n" + page;
  }
  return page;
}

std::string CommandLine::help(int width) const {
  std::string page = bold("proxent " + text_.name) + ": " + text_.summary + "\n\n" + bold("usage") +
                     ": proxent " + text_.name + " " + text_.usage + "\n";
  if (!text_.about.empty()) {
    page += "\n";
    for (const std::string& line : wrap(text_.about, width)) page += line + "\n";
  }
  if (!text_.examples.empty()) page += "\n" + bold("examples") + "\n";
  for (const auto& [command, what] : text_.examples)
    page += "  " + command + "\n      " + dim(what) + "\n";
  if (!positionals_.empty()) page += "\n" + bold("arguments") + "\n";
  for (const Positional& positional : positionals_)
    add_row_help(page, "  " + positional.name, positional.help, width);
  page += "\n" + bold("flags") + "\n";
  for (const Setting& row : settings_.rows())
    if (row.section.empty()) add_setting_help(page, row, width);
  add_row_help(page, "  -v, --verbose", "tell more: where an error arose", width);
  add_row_help(page, "  -h, --help", "this page", width);
  for (const Settings::Section& section : settings_.sections()) {
    const std::string rows = section_help(section.name, width);
    if (!section.name.empty() && !rows.empty()) page += "\n" + rows;
  }
  if (config_)
    page += "\n" +
            join(wrap("Each flag is also a key of the configuration (proxent help config). SPAN "
                      "is a number with its unit: 500it, 1ep, 30s, 10min, 3h50m.",
                      width),
                 "\n") +
            "\n";
  if (!text_.output.empty()) {
    page += "\n" + bold("output") + "\n";
    for (const std::string& line : wrap(text_.output, width - 2)) page += "  " + line + "\n";
  }
  return page + "\n" + exit_code_help();
}

void add_json(Settings& settings, bool* is_json) {
  settings.add("json", is_json, "print one JSON object on stdout");
}

void check_is_png(const std::string& file, std::string_view flag) {
  check<UsageError>(file.ends_with(".png"), flag,
                    ": a PNG file is written, so its name must end in ", ".png, got '", file, "'");
}

}  // namespace proxent
