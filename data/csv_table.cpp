#include "data/csv_table.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "data/image.h"
#include "data/text_lines.h"

namespace proxent {

// Fields may be quoted, with "" for a quote; a quoted field may hold commas and line ends.
std::vector<CsvTable::Row> CsvTable::parse(std::string_view text,
                                           const std::filesystem::path& file) {
  std::vector<Row> rows;
  Row row{.line = 1, .fields = {""}};
  int line = 1, quote_line = 0;
  const auto end_row = [&] {
    if (row.fields.size() > 1 || !row.fields[0].empty()) rows.push_back(std::move(row));
    row = {.line = line, .fields = {""}};
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (quote_line > 0) {
      if (c != '"')
        row.fields.back() += c;
      else if (i + 1 < text.size() && text[i + 1] == '"')
        row.fields.back() += text[++i];
      else
        quote_line = 0;
    } else if (c == '"' && row.fields.back().empty()) {
      quote_line = line;
    } else if (c == ',') {
      row.fields.emplace_back();
    } else if (c == '\n') {
      end_row();
    } else if (c != '\r') {
      row.fields.back() += c;
    }
  }
  check<DataError>(quote_line == 0, file.string(), ":", quote_line,
                   ": a quoted field begins here and never ends");
  end_row();
  return rows;
}

CsvTable CsvTable::read(const std::filesystem::path& file) {
  CsvTable table = read_without_header(file, {});
  check<DataError>(!table.rows_.empty(), file.string(), ": expected a header");
  const Row header = std::move(table.rows_.front());
  table.rows_.erase(table.rows_.begin());
  table.set_columns(header.fields);
  return table;
}

CsvTable CsvTable::read_without_header(const std::filesystem::path& file,
                                       const std::vector<std::string>& columns) {
  const std::vector<std::uint8_t> bytes = read_file(file);
  CsvTable table;
  table.file_ = file;
  table.rows_ = parse(text_in(bytes, file), file);
  if (!columns.empty()) table.set_columns(columns);
  return table;
}

void CsvTable::set_columns(const std::vector<std::string>& names) {
  for (const std::string& column : names)
    check<DataError>(columns_.emplace(column, columns_.size()).second, file_.string(),
                     ":1: the column name \"", column, "\" occurs twice",
                     column.empty() ? "; is the header, such as path,label, missing?" : "");
  for (const Row& row : rows_)
    check<DataError>(row.fields.size() == columns_.size(), file_.string(), ":", row.line, ": ",
                     row.fields.size(), " fields under a header of ", columns_.size());
}

void CsvTable::require_columns(const std::vector<std::string>& names,
                               std::string_view example) const {
  for (const std::string& name : names)
    check<DataError>(has_column(name), file_.string(), ":1: the header has no column \"", name,
                     "\"; expected ", example);
}

const std::string& CsvTable::text(std::int64_t row, const std::string& column) const {
  static const std::string kEmpty;
  const auto at = columns_.find(column);
  return at == columns_.end() ? kEmpty : rows_.at(row).fields[at->second];
}

bool CsvTable::flag(std::int64_t row, const std::string& column, bool fallback) const {
  std::string value = text(row, column);
  std::transform(value.begin(), value.end(), value.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (value.empty() || value == "nan" || value == "none") return fallback;
  if (value == "true" || value == "1" || value == "1.0") return true;
  if (value == "false" || value == "0" || value == "0.0") return false;
  fail<DataError>(place(row), ": ", column, " must be True or False, got ", text(row, column));
}

std::string CsvTable::place(std::int64_t row) const {
  return file_.string() + ":" + std::to_string(rows_.at(row).line);
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += c;
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace proxent
