// Tables in CSV (RFC 4180) with a header: reading them by column name, and quoting fields to write.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace proxent {

class CsvTable {
 public:
  // DataError naming the file and line: unreadable, no header, a column name twice, a row with
  // another number of fields than the header, a quote that never ends.
  static CsvTable read(const std::filesystem::path& file);
  // The same of a file that has no header, with the names of its columns.
  static CsvTable read_without_header(const std::filesystem::path& file,
                                      const std::vector<std::string>& columns);

  bool has_column(const std::string& name) const { return columns_.contains(name); }
  // DataError naming what is missing and what the header should be like.
  void require_columns(const std::vector<std::string>& names, std::string_view example) const;
  std::int64_t rows() const { return static_cast<std::int64_t>(rows_.size()); }
  // Empty where the column is absent.
  const std::string& text(std::int64_t row, const std::string& column) const;
  // True/False in the spellings of pandas; `fallback` where the cell is empty, DataError elsewhere.
  bool flag(std::int64_t row, const std::string& column, bool fallback) const;
  // "file.csv:12", for messages.
  std::string place(std::int64_t row) const;

 private:
  struct Row {
    int line = 0;  // where it begins
    std::vector<std::string> fields;
  };
  // Checks the rows against them.
  void set_columns(const std::vector<std::string>& names);
  static std::vector<Row> parse(std::string_view text, const std::filesystem::path& file);

  std::filesystem::path file_;
  std::map<std::string, std::size_t> columns_;
  std::vector<Row> rows_;  // without the header
};

// A field as it stands in a line: quoted where it holds a comma, a quote or a line end.
std::string csv_field(std::string_view text);

}  // namespace proxent
