#include "train/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/parse_number.h"
#include "tensor/check.h"
#include "train/text.h"

namespace proxent {
namespace {

using Kind = GivenValue::Kind;

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;  // Clang before 17 does not deduce it

std::string kebab(std::string text) {
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

// TOML tells a float from an integer by its point or exponent.
std::string real_text(double value) {
  const std::string text = shortest(value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

// A number of many digits was computed, such as 4/3; what people type has few.
std::string plain_real(double value) {
  constexpr std::size_t kMostTyped = 12;
  const std::string text = shortest(value);
  return text.size() > kMostTyped ? rounded(value) : text;
}

// How values become text.
struct Notation {
  std::string (*real)(double);
  std::string (*text)(std::string_view);
  std::string_view before, between, after;  // the items of a list
};

std::string text_of(const SettingTarget& target, const Notation& notation) {
  const auto number = [](std::int64_t value) { return std::to_string(value); };
  const auto list = [&](const auto& items, const auto& write) {
    std::vector<std::string> texts;
    for (const auto& item : items) texts.push_back(write(item));
    return detail::concat(notation.before, join(texts, notation.between), notation.after);
  };
  return std::visit(
      Overloaded{
          [](const bool* value) -> std::string { return *value ? "true" : "false"; },
          [&](const std::int64_t* value) { return number(*value); },
          [&](const double* value) { return notation.real(*value); },
          [&](const std::string* value) { return notation.text(*value); },
          [&](const Duration* value) { return notation.text(to_text(*value)); },
          [&](const std::optional<std::int64_t>* value) {
            return *value ? number(**value) : notation.text("auto");
          },
          [&](const std::optional<double>* value) {
            return *value ? notation.real(**value) : notation.text("auto");
          },
          [&](std::span<double> values) { return list(values, notation.real); },
          [&](const std::vector<std::string>* values) { return list(*values, notation.text); },
          [&](const std::vector<std::int64_t>* values) { return list(*values, number); },
      },
      target);
}

// Everything that makes a value wrong ends here; assign() writes the message.
struct Refused {};

void require(bool condition) {
  if (!condition) throw Refused();
}

const std::string& single(const GivenValue& given) {
  require(!given.is_list && given.items.size() == 1);
  return given.items[0];
}

bool is_inside(const Range& range, double value) {
  return (range.excludes_low ? value > range.low : value >= range.low) &&
         (range.excludes_high ? value < range.high : value <= range.high);
}

template <class Number>
Number number_within(const std::string& text, const Range& range) {
  const std::optional<Number> value = parse_number<Number>(text);
  require(value.has_value());
  require(std::isfinite(static_cast<double>(*value)));
  require(is_inside(range, static_cast<double>(*value)));
  return *value;
}

bool parse_bool(const std::string& text) {
  const bool is_true = text == "true" || text == "on" || text == "yes" || text == "1";
  require(is_true || text == "false" || text == "off" || text == "no" || text == "0");
  return is_true;
}

// The items of a list; untyped text is cut at commas.
std::vector<std::string> list_items(const GivenValue& given) {
  if (given.is_list) return given.items;
  require(given.items.size() == 1);
  return split(given.items[0], ',');
}

void require_kind(const GivenValue& given, std::initializer_list<Kind> kinds) {
  require(given.kind == Kind::untyped || (given.is_list && given.items.empty()) ||
          std::find(kinds.begin(), kinds.end(), given.kind) != kinds.end());
}

void require_choice(const SettingOptions& options, const std::string& text) {
  require(options.choices.empty() ||
          std::find(options.choices.begin(), options.choices.end(), text) != options.choices.end());
}

struct Parser {
  const GivenValue& given;
  const SettingOptions& options;

  void operator()(bool* target) const {
    require_kind(given, {Kind::boolean});
    *target = parse_bool(single(given));
  }
  void operator()(std::int64_t* target) const {
    require_kind(given, {Kind::integer});
    *target = number_within<std::int64_t>(single(given), options.range);
  }
  void operator()(double* target) const {
    require_kind(given, {Kind::integer, Kind::real});
    *target = number_within<double>(single(given), options.range);
  }
  void operator()(std::string* target) const {
    require_kind(given, {Kind::string});
    require_choice(options, single(given));
    *target = single(given);
  }
  void operator()(Duration* target) const {
    const std::string& text = single(given);
    require(given.kind == Kind::untyped || given.kind == Kind::string || text == "0");
    Duration duration;
    try {
      duration = parse_duration(text);
    } catch (const UsageError&) {
      throw Refused();
    }
    require(duration.is_zero() || (duration.is_time() ? options.takes_time : options.takes_steps));
    *target = duration;
  }
  template <class Number>
  void operator()(std::optional<Number>* target) const {
    if (single(given) == "auto") {
      require_kind(given, {Kind::string});
      target->reset();
      return;
    }
    Number value{};
    (*this)(&value);
    *target = value;
  }
  void operator()(std::span<double> target) const {
    require_kind(given, {Kind::integer, Kind::real});
    const auto items = list_items(given);
    require(items.size() == target.size());
    std::vector<double> values;
    for (const auto& item : items) values.push_back(number_within<double>(item, options.range));
    std::copy(values.begin(), values.end(), target.begin());
  }
  void operator()(std::vector<std::string>* target) const {
    require_kind(given, {Kind::string});
    const auto items = options.is_added_to ? given.items : list_items(given);
    for (const auto& item : items) {
      require(!item.empty());
      require_choice(options, item);
    }
    if (!options.is_added_to) target->clear();
    target->insert(target->end(), items.begin(), items.end());
  }
  void operator()(std::vector<std::int64_t>* target) const {
    require_kind(given, {Kind::integer});
    std::vector<std::int64_t> values;
    for (const auto& item : list_items(given))
      values.push_back(number_within<std::int64_t>(item, options.range));
    *target = values;
  }
};

std::string bounds(const Range& range) {
  const bool has_low = std::isfinite(range.low), has_high = std::isfinite(range.high);
  const std::string low = shortest(range.low), high = shortest(range.high);
  if (has_low && has_high && !range.excludes_low && !range.excludes_high)
    return " from " + low + " to " + high;
  std::string text;
  if (has_low) text += (range.excludes_low ? " above " : " of at least ") + low;
  if (has_low && has_high) text += " and";
  if (has_high) text += (range.excludes_high ? " below " : " of at most ") + high;
  return text;
}

std::string written(const GivenValue& given) {
  return given.is_list ? "[" + join(given.items, ", ") + "]" : join(given.items, ",");
}

// The value as a refusal shows it. In a file 3, 3.0 and "3" are of three kinds.
std::string shown(const Setting& setting, const GivenValue& given) {
  std::string text = written(given);
  const bool is_whole = text.find_first_not_of("-0123456789") == std::string::npos;
  if (given.kind == Kind::real && is_whole) text += ".0";
  const bool takes_text = !setting.options.choices.empty() ||
                          std::holds_alternative<std::string*>(setting.target) ||
                          std::holds_alternative<Duration*>(setting.target);
  return (given.kind == Kind::string && !takes_text ? "the text '" : "'") + text + "'";
}

}  // namespace

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      out += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + "\"";
}

std::string Setting::value_text() const {
  return text_of(target, {real_text, quoted, "[", ", ", "]"});
}

std::string Setting::plain_text() const {
  const auto as_it_is = [](std::string_view text) { return std::string(text); };
  return text_of(target, {plain_real, as_it_is, "", ",", ""});
}

std::string expectation(const Setting& setting) {
  const SettingOptions& options = setting.options;
  std::string number = "a number" + bounds(options.range);
  std::string whole = "a whole number" + bounds(options.range);
  if (!options.choices.empty()) {
    const bool is_list = std::holds_alternative<std::vector<std::string>*>(setting.target);
    return (is_list ? "a list of " : "") + one_of(options.choices);
  }
  return std::visit(
      Overloaded{
          [](const bool*) -> std::string { return "true or false"; },
          [&](const std::int64_t*) { return whole; },
          [&](const double*) { return number; },
          [](const std::string*) -> std::string { return "text"; },
          [&](const Duration*) -> std::string {
            if (!options.takes_steps) return "a span of time such as 30s, 10min or 3h50m, or 0";
            if (!options.takes_time) return "iterations or epochs such as 500it or 1.5ep, or 0";
            return "a number with its unit such as 500it, 1.5ep, 30s, 10min or 3h50m, or 0";
          },
          [&](const std::optional<std::int64_t>*) { return "auto or " + whole; },
          [&](const std::optional<double>*) { return "auto or " + number; },
          [&](std::span<double> values) {
            return fmt::format("{} numbers{}", values.size(), bounds(options.range));
          },
          [](const std::vector<std::string>*) -> std::string { return "a list of names"; },
          [&](const std::vector<std::int64_t>*) {
            return "a list of whole numbers" + bounds(options.range);
          },
      },
      setting.target);
}

void Settings::section(std::string name, std::string title) {
  sections_.push_back({std::move(name), std::move(title)});
}

Setting& Settings::add(std::string key, SettingTarget target, std::string help,
                       SettingOptions options) {
  if (sections_.empty()) sections_.push_back({});
  if (options.flag.empty()) options.flag = kebab(key);
  Setting& row = rows_.emplace_back();
  row.section = sections_.back().name;
  row.key = std::move(key);
  row.target = target;
  row.help = std::move(help);
  row.options = std::move(options);
  row.initial = row.value_text();
  row.plain_initial = row.plain_text();
  return row;
}

Setting* Settings::find_key(std::string_view name) {
  const std::string wanted = kebab(std::string(name));
  for (Setting& row : rows_)
    if (kebab(row.name()) == wanted) return &row;
  return nullptr;
}

Setting* Settings::find_flag(std::string_view name) {
  const std::string wanted = kebab(std::string(name));
  for (Setting& row : rows_) {
    const bool is_letter = wanted.size() == 1 && row.options.letter == wanted[0];
    if (is_letter || row.options.flag == wanted || kebab(row.name()) == wanted) return &row;
  }
  return nullptr;
}

Setting* Settings::find_variable(std::string_view name) {
  if (!name.starts_with("PROXENT_")) return nullptr;
  std::string wanted(name.substr(8));
  std::transform(wanted.begin(), wanted.end(), wanted.begin(), [](unsigned char c) {
    return c == '_' ? '-' : static_cast<char>(std::tolower(c));
  });
  for (Setting& row : rows_) {
    std::string dotted = kebab(row.name());
    std::replace(dotted.begin(), dotted.end(), '.', '-');
    if (row.options.flag == wanted || dotted == wanted) return &row;
  }
  return nullptr;
}

void Settings::assign(Setting& setting, const GivenValue& given, const std::string& label,
                      const std::string& source) {
  try {
    std::visit(Parser{given, setting.options}, setting.target);
  } catch (const Refused&) {
    fail<UsageError>(label, ": expected ", expectation(setting), ", got ", shown(setting, given),
                     ".", suggestion(written(given), setting.options.choices));
  }
  setting.source = source;
}

std::vector<std::string> Settings::key_names() const {
  std::vector<std::string> names;
  for (const Setting& row : rows_)
    if (!row.section.empty()) names.push_back(row.name());
  return names;
}

std::vector<std::string> Settings::flag_names() const {
  std::vector<std::string> names;
  for (const Setting& row : rows_) {
    if (!row.is_flag) continue;
    names.push_back(row.options.flag);
    if (!row.section.empty()) names.push_back(kebab(row.name()));
  }
  return names;
}

}  // namespace proxent
