// A JSON value: run.json, train.jsonl and every --json. Objects keep the order in which their keys
// were added; numbers are written as the shortest that read back to the same double.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace proxent {

class Json {
 public:
  using Members = std::vector<std::pair<std::string, Json>>;

  Json() = default;  // null
  Json(bool value) : value_(value) {}
  Json(int value) : value_(std::int64_t{value}) {}
  Json(std::int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}  // NaN and infinity are written as null
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::vector<Json> items) : value_(std::move(items)) {}
  static Json object(Members members = {}) { return Json(std::move(members), 0); }
  static Json array(std::vector<Json> items = {}) { return Json(std::move(items)); }

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  // The member of that name, added as null if there is none; null itself becomes an object.
  Json& operator[](std::string_view key);
  Members& members();  // of an object; throws Error for anything else
  const Members& members() const;
  bool is_object() const { return std::holds_alternative<Members>(value_); }
  // The member of that name, or null: there is none, or this is no object.
  const Json* find(std::string_view key) const;
  // What it is, or nothing. A whole number is both.
  std::optional<double> number() const;
  std::optional<std::int64_t> integer() const;
  const std::string* string() const { return std::get_if<std::string>(&value_); }
  void push_back(Json item);  // null itself becomes an array

  // One line; with indent >= 0 one member per line, as people read it.
  std::string text(int indent = -1) const;
  // As text(), but a string stands without quotes: for tables.
  std::string plain() const;
  // Whether some number in it is NaN or infinite.
  bool has_nonfinite() const;

 private:
  friend class JsonBuilder;
  Json(Members members, int) : value_(std::move(members)) {}
  void write(std::string& out, int indent, int depth) const;

  std::variant<std::monostate, bool, std::int64_t, double, std::string, std::vector<Json>, Members>
      value_;
};

// The value that a text holds; nothing if it is no JSON or is nested deeper than anything we write.
std::optional<Json> parse_json(std::string_view text);
// The object that a file holds. Throws DataError naming the file where there is none.
Json read_json(const std::filesystem::path& path);

}  // namespace proxent
