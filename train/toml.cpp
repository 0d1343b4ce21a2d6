#include "train/toml.h"

#include <toml++/toml.h>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tensor/check.h"
#include "train/text.h"

namespace proxent {
namespace {

using Kind = GivenValue::Kind;

// One scalar as text; integers and floats keep the value, not the spelling (1_000 is 1000).
void add_item(GivenValue& value, const toml::node& node) {
  Kind kind = Kind::other;
  std::string text;
  if (const auto* boolean = node.as_boolean()) {
    kind = Kind::boolean;
    text = boolean->get() ? "true" : "false";
  } else if (const auto* integer = node.as_integer()) {
    kind = Kind::integer;
    text = std::to_string(integer->get());
  } else if (const auto* real = node.as_floating_point()) {
    kind = Kind::real;
    text = shortest(real->get());
  } else if (const auto* string = node.as_string()) {
    kind = Kind::string;
    text = string->get();
  } else {
    text = node.is_array() ? "a list" : node.is_table() ? "a table" : "a date or time";
  }
  // A list of integers and floats is a list of floats; any other mixture fits nothing.
  const bool is_number = kind == Kind::integer || kind == Kind::real;
  const bool was_number = value.kind == Kind::integer || value.kind == Kind::real;
  if (value.items.empty() || kind == value.kind)
    value.kind = kind;
  else
    value.kind = is_number && was_number ? Kind::real : Kind::other;
  value.items.push_back(text);
}

// Parsing, and freeing what was parsed, goes as deep as a key has parts.
void check_depth(std::string_view text, std::string_view source) {
  constexpr int kMostParts = 100;
  int parts = 0, line = 1;
  bool is_quoted = false;
  for (const char c : text) {
    if (c == '"' || c == '\'') is_quoted = !is_quoted;
    if (c == '\n') is_quoted = false, ++line;
    if (c == '\n' || c == '=' || c == ',' || c == '{') parts = 0;
    parts += c == '.' && !is_quoted;
    check<UsageError>(parts < kMostParts, source, ":", line, ": a key of more than ", kMostParts,
                      " parts; settings have two, as optim.lr");
  }
}

void flatten(const toml::table& table, const std::string& prefix, const std::string& source,
             std::vector<std::pair<std::uint32_t, TomlEntry>>& entries) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const auto* inner = node.as_table()) {
      flatten(*inner, name + ".", source, entries);
      continue;
    }
    TomlEntry entry{name, {}, source + ":" + std::to_string(node.source().begin.line)};
    if (const auto* list = node.as_array()) {
      entry.value.is_list = true;
      for (const auto& item : *list) add_item(entry.value, item);
    } else {
      add_item(entry.value, node);
    }
    entries.emplace_back(node.source().begin.line, std::move(entry));
  }
}

}  // namespace

std::vector<TomlEntry> read_toml(std::string_view text, std::string_view source) {
  std::vector<std::pair<std::uint32_t, TomlEntry>> entries;
  try {
    check_depth(text, source);
    flatten(toml::parse(text), "", std::string(source), entries);
  } catch (const toml::parse_error& error) {
    fail<UsageError>(source, ":", error.source().begin.line, ": not TOML: ", error.description());
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<TomlEntry> in_order;
  for (auto& [line, entry] : entries) in_order.push_back(std::move(entry));
  return in_order;
}

std::string read_config_file(const std::string& path) {
  constexpr std::int64_t kMostBytes = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  const bool is_file = file.good() && !std::filesystem::is_directory(path);
  check<UsageError>(is_file, "cannot read the configuration file '", path,
                    "'. Give -c an existing TOML file.");
  std::string text(kMostBytes + 1, '\0');
  file.read(text.data(), std::ssize(text));
  text.resize(static_cast<std::size_t>(file.gcount()));
  check<UsageError>(std::ssize(text) <= kMostBytes, "the configuration file '", path,
                    "' is larger than 1 MiB; give -c a TOML file of settings");
  return text;
}

}  // namespace proxent
