// A JSON value to be written: run.json, train.jsonl and every --json. Objects keep the order in
// which their keys were added; numbers are the shortest that read back to the same double.
#pragma once

#include <cstdint>
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
  // The number it is, or nothing.
  std::optional<double> number() const;
  void push_back(Json item);  // null itself becomes an array

  // One line; with indent >= 0 one member per line, as people read it.
  std::string text(int indent = -1) const;
  // As text(), but a string stands without quotes: for tables.
  std::string plain() const;
  // Whether some number in it is NaN or infinite.
  bool has_nonfinite() const;

 private:
  Json(Members members, int) : value_(std::move(members)) {}
  void write(std::string& out, int indent, int depth) const;

  std::variant<std::monostate, bool, std::int64_t, double, std::string, std::vector<Json>, Members>
      value_;
};

}  // namespace proxent
