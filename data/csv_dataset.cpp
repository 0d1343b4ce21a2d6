// CSV data sets as open-metric-learning writes them.
#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include "data/csv_table.h"
#include "data/formats.h"
#include "data/parse_number.h"

namespace proxent::detail {
namespace {

// One row of the table.
class Record {
 public:
  Record(const CsvTable& table, std::int64_t row) : table_(table), row_(row) {}

  const std::string& text(const std::string& column) const { return table_.text(row_, column); }
  bool flag(const std::string& column, bool fallback) const {
    return table_.flag(row_, column, fallback);
  }
  std::string place() const { return table_.place(row_); }

  // Whole pixels of x_1, x_2, y_1, y_2; nothing where all are empty.
  std::optional<CropBox> box() const {
    std::array<std::int64_t, 4> side{};
    constexpr std::array<const char*, 4> kColumns{"x_1", "x_2", "y_1", "y_2"};
    int given = 0;
    for (int i = 0; i < 4; ++i) {
      const std::string& cell = text(kColumns[i]);
      if (cell.empty() || cell == "nan") continue;
      const auto value = parse_number<double>(cell);
      check<DataError>(value && std::abs(*value) < 1e9, place(), ": ", kColumns[i],
                       " must be a number of pixels, got ", cell);
      side[i] = static_cast<std::int64_t>(*value);
      ++given;
    }
    if (given == 0) return std::nullopt;
    check<DataError>(
        given == 4 && side[0] >= 0 && side[0] < side[1] && side[2] >= 0 && side[2] < side[3],
        place(), ": a box needs 0 <= x_1 < x_2 and 0 <= y_1 < y_2, got x ", side[0], " to ",
        side[1], ", y ", side[2], " to ", side[3]);
    return CropBox{side[2], side[0], side[3] - side[2], side[1] - side[0]};
  }

 private:
  const CsvTable& table_;
  std::int64_t row_;
};

Sample read_sample(const Record& record, const fs::path& file) {
  check<DataError>(!record.text("path").empty(), record.place(), ": the path is empty");
  check<DataError>(!record.text("label").empty(), record.place(), ": the label is empty");
  Sample sample{.path = (file.parent_path() / record.text("path")).string()};
  sample.category = record.text("category");
  sample.fine = record.text("fine_label");
  sample.box = record.box();
  return sample;
}

// In a table with a "test" split, "validation" chooses the epoch; without, it is what is tested
// (open-metric-learning knows train and validation only).
void add_evaluated(const Record& record, Sample sample, PartBuilder& part) {
  sample.is_query = record.flag("is_query", true);
  sample.is_gallery = record.flag("is_gallery", true);
  check<DataError>(sample.is_query || sample.is_gallery, record.place(),
                   ": a picture that does not train must be a query or in the gallery");
  part.add(std::move(sample), record.text("label"));
}

// The class_name of every label, where the table has that column.
std::map<std::string, std::string> names_of_labels(const CsvTable& table) {
  std::map<std::string, std::string> names;
  if (!table.has_column("class_name")) return names;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    const std::string& label = table.text(row, "label");
    const std::string& name = table.text(row, "class_name");
    const auto& known = names.emplace(label, name).first->second;
    check<DataError>(known == name, table.place(row), ": label ", label, " is called ", name,
                     " here and ", known, " before");
  }
  return names;
}

// Labels become names; a table that calls two labels alike cannot mean one class by it.
void rename_classes(const std::map<std::string, std::string>& names, const fs::path& file,
                    Dataset& part) {
  if (names.empty()) return;
  std::set<std::string> used;
  for (std::string& name : part.class_names) {
    name = names.at(name);
    check<DataError>(used.insert(name).second, file.string(), ": two labels are called ", name);
  }
}

}  // namespace

bool is_csv_dataset(const fs::path& file) {
  std::ifstream text(file);
  std::string header;
  std::getline(text, header);
  const auto has = [&](const char* name) { return header.find(name) != std::string::npos; };
  return has("label") && has("path");
}

DatasetSplits read_csv_dataset(const fs::path& file) {
  const CsvTable table = CsvTable::read(file);
  check<DataError>(
      table.has_column("label") || table.has_column("path"), file.string(),
      ":1: expected a header such as label,path,split; this line names neither column. "
      "Put one above it; lines \"path label\" are --dataset list");
  table.require_columns({"label", "path"}, "label,path,split,is_query,is_gallery");
  check<DataError>(table.rows() >= 1, file.string(), ": expected a header and at least one row");

  PartBuilder train, validation, test;
  for (PartBuilder* part : {&train, &validation, &test}) part->dataset.list = file.string();
  PictureOnce known;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    const Record record(table, row);
    const std::string& split = record.text("split");
    Sample sample = read_sample(record, file);
    known.add(sample, record.place());
    if (split == "train" || !table.has_column("split"))
      train.add(std::move(sample), record.text("label"));
    else if (split == "validation" || split == "val")
      add_evaluated(record, std::move(sample), validation);
    else if (split == "test")
      add_evaluated(record, std::move(sample), test);
    else
      fail<DataError>(record.place(), ": split must be train, validation or test, got \"", split,
                      "\"");
  }

  if (test.dataset.is_empty()) std::swap(test, validation);
  DatasetSplits splits{.train = train.finish("train"),
                       .test = test.finish("test"),
                       .validation = validation.finish("validation"),
                       .description = table.has_column("split") ? file.filename().string() : ""};
  const auto names = names_of_labels(table);
  for (Dataset* part : {&splits.train, &splits.test, &splits.validation})
    rename_classes(names, file, *part);
  return splits;
}

}  // namespace proxent::detail
