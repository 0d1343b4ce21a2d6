// CSV data sets as open-metric-learning writes them, and the RFC 4180 reader under it.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "data/formats.h"

namespace proxent::detail {
namespace {

struct Row {
  int line = 0;  // where it begins
  std::vector<std::string> fields;
};

// Fields may be quoted, with "" for a quote; a quoted field may hold commas and line ends.
std::vector<Row> parse_csv(std::string_view text, const fs::path& file) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
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

// One row with its columns by name.
class Record {
 public:
  Record(const Row& row, const std::map<std::string, std::size_t>& columns, const fs::path& file)
      : row_(row), columns_(columns), file_(file) {}

  // Empty when the column is absent.
  const std::string& text(const std::string& column) const {
    static const std::string kEmpty;
    const auto at = columns_.find(column);
    return at == columns_.end() ? kEmpty : row_.fields[at->second];
  }

  // True/False in the spellings of pandas; `fallback` where the cell is empty.
  bool flag(const std::string& column, bool fallback) const {
    std::string value = text(column);
    std::transform(value.begin(), value.end(), value.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (value.empty() || value == "nan" || value == "none") return fallback;
    if (value == "true" || value == "1" || value == "1.0") return true;
    if (value == "false" || value == "0" || value == "0.0") return false;
    fail<DataError>(place(), ": ", column, " must be True or False, got ", text(column));
  }

  // Whole pixels of x_1, x_2, y_1, y_2; nothing where all are empty.
  std::optional<CropBox> box() const {
    std::array<std::int64_t, 4> side{};
    constexpr std::array<const char*, 4> kColumns{"x_1", "x_2", "y_1", "y_2"};
    int given = 0;
    for (int i = 0; i < 4; ++i) {
      const std::string& cell = text(kColumns[i]);
      if (cell.empty() || cell == "nan") continue;
      double value = 0;
      const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
      check<DataError>(
          error == std::errc() && end == cell.data() + cell.size() && std::abs(value) < 1e9,
          place(), ": ", kColumns[i], " must be a number of pixels, got ", cell);
      side[i] = static_cast<std::int64_t>(value);
      ++given;
    }
    if (given == 0) return std::nullopt;
    check<DataError>(
        given == 4 && side[0] >= 0 && side[0] < side[1] && side[2] >= 0 && side[2] < side[3],
        place(), ": a box needs 0 <= x_1 < x_2 and 0 <= y_1 < y_2, got x ", side[0], " to ",
        side[1], ", y ", side[2], " to ", side[3]);
    return CropBox{side[2], side[0], side[3] - side[2], side[1] - side[0]};
  }

  std::string place() const { return file_.string() + ":" + std::to_string(row_.line); }

 private:
  const Row& row_;
  const std::map<std::string, std::size_t>& columns_;
  const fs::path& file_;
};

Sample read_sample(const Record& record, const fs::path& file) {
  check<DataError>(!record.text("path").empty(), record.place(), ": the path is empty");
  check<DataError>(!record.text("label").empty(), record.place(), ": the label is empty");
  Sample sample{.path = (file.parent_path() / record.text("path")).string()};
  sample.category = record.text("category");
  sample.box = record.box();
  return sample;
}

struct Part {
  Dataset dataset;
  std::vector<std::string> labels;
  void add(Sample sample, const std::string& label) {
    dataset.samples.push_back(std::move(sample));
    labels.push_back(label);
  }
  Dataset finish(std::string name) {
    dataset.name = std::move(name);
    assign_labels(dataset, labels);
    return std::move(dataset);
  }
};

// In a table with a "test" split, "validation" chooses the epoch; without, it is what is tested
// (open-metric-learning knows train and validation only).
void add_evaluated(const Record& record, Sample sample, Part& part) {
  sample.is_query = record.flag("is_query", true);
  sample.is_gallery = record.flag("is_gallery", true);
  check<DataError>(sample.is_query || sample.is_gallery, record.place(),
                   ": a picture that does not train must be a query or in the gallery");
  part.add(std::move(sample), record.text("label"));
}

}  // namespace

DatasetSplits read_csv_dataset(const fs::path& file) {
  const std::vector<std::uint8_t> bytes = read_file(file);
  const std::vector<Row> rows =
      parse_csv({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file);
  check<DataError>(rows.size() >= 2, file.string(), ": expected a header and at least one row");
  std::map<std::string, std::size_t> columns;
  for (const std::string& column : rows[0].fields) columns.emplace(column, columns.size());
  check<DataError>(columns.size() == rows[0].fields.size(), file.string(),
                   ":1: a column name occurs twice");
  for (const char* needed : {"label", "path"})
    check<DataError>(columns.contains(needed), file.string(), ":1: the header has no column \"",
                     needed, "\"; expected label,path,split,is_query,is_gallery");

  Part train, validation, test;
  for (std::size_t r = 1; r < rows.size(); ++r) {
    check<DataError>(rows[r].fields.size() == columns.size(), file.string(), ":", rows[r].line,
                     ": ", rows[r].fields.size(), " fields under a header of ", columns.size());
    const Record record(rows[r], columns, file);
    const std::string& split = record.text("split");
    Sample sample = read_sample(record, file);
    if (split == "train" || !columns.contains("split"))
      train.add(std::move(sample), record.text("label"));
    else if (split == "validation" || split == "val")
      add_evaluated(record, std::move(sample), validation);
    else if (split == "test")
      add_evaluated(record, std::move(sample), test);
    else
      fail<DataError>(record.place(), ": split must be train, validation or test, got \"", split,
                      "\"");
  }
  std::vector<Sample> all;
  for (const Part* part : {&train, &validation, &test})
    all.insert(all.end(), part->dataset.samples.begin(), part->dataset.samples.end());
  check_files_exist(all, file);

  if (test.dataset.is_empty()) std::swap(test, validation);
  return {.train = train.finish("train"),
          .test = test.finish("test"),
          .validation = validation.finish("validation"),
          .description = columns.contains("split") ? file.filename().string() : ""};
}

}  // namespace proxent::detail
