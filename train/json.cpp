#include "train/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/utf8.h"
#include "tensor/check.h"
#include "train/input_file.h"
#include "train/text.h"

namespace proxent {
namespace {

// File names may hold any bytes; those that are no UTF-8 become U+FFFD, as JSON must be UTF-8.
void write_string(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const std::optional<CodePoint> code_point = code_point_at(text, i);
    const std::size_t length = code_point ? code_point->length : 1;
    if (!code_point)
      out += "\xEF\xBF\xBD";
    else if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += text.substr(i, length);
    i += length;
  }
  out += '"';
}

template <class Items, class WriteItem>
void write_block(std::string& out, char open, char close, const Items& items, int indent, int depth,
                 const WriteItem& write_item) {
  const auto new_line = [&](int levels) {
    if (indent >= 0) out += "\n" + std::string(static_cast<std::size_t>(indent * levels), ' ');
  };
  out += open;
  bool is_first = true;
  for (const auto& item : items) {
    if (!is_first) out += indent >= 0 ? "," : ", ";
    is_first = false;
    new_line(depth + 1);
    write_item(item);
  }
  if (!items.empty()) new_line(depth);
  out += close;
}

}  // namespace

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = Members{};
  for (auto& [name, value] : members())
    if (name == key) return value;
  return members().emplace_back(std::string(key), Json()).second;
}

Json::Members& Json::members() {
  check(is_object(), "json: this value is no object");
  return std::get<Members>(value_);
}

const Json::Members& Json::members() const {
  check(is_object(), "json: this value is no object");
  return std::get<Members>(value_);
}

std::optional<double> Json::number() const {
  if (const auto* integer = std::get_if<std::int64_t>(&value_))
    return static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(&value_)) return *real;
  return std::nullopt;
}

const Json* Json::find(std::string_view key) const {
  const auto* members = std::get_if<Members>(&value_);
  if (!members) return nullptr;
  const auto found = std::find_if(members->begin(), members->end(),
                                  [&](const auto& member) { return member.first == key; });
  return found == members->end() ? nullptr : &found->second;
}

std::optional<std::int64_t> Json::integer() const {
  const auto* integer = std::get_if<std::int64_t>(&value_);
  return integer ? std::optional(*integer) : std::nullopt;
}

void Json::push_back(Json item) {
  if (is_null()) value_ = std::vector<Json>{};
  auto* items = std::get_if<std::vector<Json>>(&value_);
  check(items, "json: push_back to a value that is no array");
  items->push_back(std::move(item));
}

std::string Json::text(int indent) const {
  std::string out;
  write(out, indent, 0);
  return out;
}

std::string Json::plain() const {
  const auto* string = std::get_if<std::string>(&value_);
  return string ? *string : text();
}

void Json::write(std::string& out, int indent, int depth) const {
  if (is_null()) {
    out += "null";
  } else if (const auto* boolean = std::get_if<bool>(&value_)) {
    out += *boolean ? "true" : "false";
  } else if (const auto* integer = std::get_if<std::int64_t>(&value_)) {
    out += std::to_string(*integer);
  } else if (const auto* number = std::get_if<double>(&value_)) {
    out += std::isfinite(*number) ? shortest(*number) : "null";
  } else if (const auto* string = std::get_if<std::string>(&value_)) {
    write_string(out, *string);
  } else if (const auto* items = std::get_if<std::vector<Json>>(&value_)) {
    write_block(out, '[', ']', *items, indent, depth,
                [&](const Json& item) { item.write(out, indent, depth + 1); });
  } else {
    write_block(out, '{', '}', std::get<Members>(value_), indent, depth, [&](const auto& member) {
      write_string(out, member.first);
      out += ": ";
      member.second.write(out, indent, depth + 1);
    });
  }
}

bool Json::has_nonfinite() const {
  if (const auto* number = std::get_if<double>(&value_)) return !std::isfinite(*number);
  if (const auto* items = std::get_if<std::vector<Json>>(&value_))
    return std::any_of(items->begin(), items->end(),
                       [](const Json& item) { return item.has_nonfinite(); });
  if (const auto* members = std::get_if<Members>(&value_))
    return std::any_of(members->begin(), members->end(),
                       [](const auto& member) { return member.second.has_nonfinite(); });
  return false;
}

// Takes what nlohmann's parser finds, piece by piece.
class JsonBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Json take() { return std::move(result_); }

  bool null() override { return add({}); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > INT64_MAX) return add(static_cast<double>(value));
    return add(static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // text has none
  bool start_object(std::size_t) override { return add(Json::object()); }
  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return add(Json::array()); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 private:
  static constexpr std::size_t kMostDepth = 64;

  // To the innermost open container, and opens it if it is one. What is open does not move: only
  // the innermost one grows.
  bool add(Json value) {
    const bool is_container = value.is_object() || items_of(value);
    Json* place = &result_;
    if (open_.empty())
      result_ = std::move(value);
    else if (auto* items = items_of(*open_.back()))
      place = &items->emplace_back(std::move(value));
    else
      place = &open_.back()->members().emplace_back(std::move(key_), std::move(value)).second;
    if (is_container) open_.push_back(place);
    return open_.size() <= kMostDepth;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  static std::vector<Json>* items_of(Json& value) {
    return std::get_if<std::vector<Json>>(&value.value_);
  }

  Json result_;
  std::vector<Json*> open_;  // from the outermost to the innermost
  std::string key_;          // of the value that comes next
};

std::optional<Json> parse_json(std::string_view text) {
  JsonBuilder builder;
  if (!nlohmann::json::sax_parse(text, &builder)) return std::nullopt;
  return builder.take();
}

Json read_json(const std::filesystem::path& path) {
  std::optional<Json> json = parse_json(read_text(path));
  check<DataError>(json && json->is_object(), path.string(), ": damaged, it is no JSON object");
  return *std::move(json);
}

}  // namespace proxent
