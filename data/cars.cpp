// Cars196 (Krause et al. 2013) in the four layouts that circulate. All of them divide each class
// into training and test pictures for classification, which retrieval ignores: classes are divided.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "data/csv_table.h"
#include "data/formats.h"
#include "data/mat.h"
#include "data/parse_number.h"

namespace proxent::detail {
namespace {

constexpr OfficialCounts kOfficial{
    .name = "Cars196",
    .train = {98, 8054},
    .test = {98, 8131},
    .explanations = {
        {{8144, "8,144 pictures are those of the training file alone; give the test pictures too"},
         {16185,
          "No picture is missing, so classes have changed places: their order is not that of the "
          "annotations"}}}};

constexpr const char* kAnnotations = "cars_annos.mat";
constexpr const char* kTrainAnnotations = "cars_train_annos.mat";

// A struct array as a table: an element is a row, a field a column.
class AnnotationTable {
 public:
  explicit AnnotationTable(const fs::path& file)
      : name_(file.string()),
        file_(MatFile::read(file)),
        rows_(file_.require("annotations", MatArray::Kind::structure)) {}
  AnnotationTable(const AnnotationTable&) = delete;  // rows_ lie in file_
  AnnotationTable& operator=(const AnnotationTable&) = delete;

  std::int64_t rows() const { return rows_.elements(); }
  std::string place(std::int64_t row) const {
    return name_ + ": annotations(" + std::to_string(row + 1) + ")";
  }
  std::string text(std::int64_t row, const char* field) const {
    const MatArray& item = at(row, field);
    check<DataError>(item.kind == MatArray::Kind::text && !item.text.empty(), place(row), ".",
                     field, " must be a text, it is ", found_instead(item.kind));
    return item.text;
  }
  std::int64_t id(std::int64_t row, const char* field) const {
    const MatArray& item = at(row, field);
    check<DataError>(item.kind == MatArray::Kind::numbers && item.elements() == 1, place(row), ".",
                     field, " must be one number, it is ",
                     item.kind == MatArray::Kind::numbers
                         ? std::to_string(item.elements()) + " numbers"
                         : found_instead(item.kind));
    const double value = item.number();
    check<DataError>(value >= 1 && value <= 1e9 && value == std::floor(value), place(row), ".",
                     field, " must be a whole number from 1 on, got ", value);
    return static_cast<std::int64_t>(value);
  }
  // The texts of the file's cell of that name; empty where it has none.
  std::vector<std::string> names(std::string_view variable) const {
    return names_of(file_, variable);
  }
  static std::vector<std::string> names_of(const MatFile& file, std::string_view variable) {
    std::vector<std::string> names;
    if (file.find(variable) == nullptr) return names;
    for (const MatArray& item : file.require(variable, MatArray::Kind::cell).items)
      names.push_back(item.text);
    return names;
  }

 private:
  const MatArray& at(std::int64_t row, const char* field) const {
    const std::int64_t f = rows_.find_field(field);
    std::string there;
    for (const std::string& other : rows_.fields) there += (there.empty() ? "" : ", ") + other;
    check<DataError>(f >= 0, name_, ": annotations have no field '", field, "', only ", there);
    return rows_.item(row, f);
  }

  std::string name_;
  MatFile file_;
  const MatArray& rows_;
};

// Pictures of one or two files, each with the id of its class.
class CarBuilder {
 public:
  void set_names(std::vector<std::string> names) { names_ = std::move(names); }
  const std::vector<std::string>& names() const { return names_; }

  void add(const std::string& place, const fs::path& file, std::int64_t class_id) {
    check<DataError>(names_.empty() || class_id <= std::ssize(names_), place, ": class ", class_id,
                     " of ", names_.size(), " classes");
    Sample sample{.path = file.string()};
    known_.add(sample, place);
    part_.add(std::move(sample), std::to_string(class_id));
  }
  Dataset finish(const fs::path& list) {
    check<DataError>(!part_.dataset.is_empty(), list.string(), ": no pictures are annotated");
    part_.dataset.list = list.string();
    Dataset all = part_.finish("cars");
    if (!names_.empty())
      for (std::string& name : all.class_names)
        name = names_[static_cast<std::size_t>(std::stoll(name) - 1)];
    return all;
  }

 private:
  PartBuilder part_;
  std::vector<std::string> names_;  // by id - 1; empty: unknown
  PictureOnce known_;
};

// Layout A: one file for all pictures, which lie in car_ims/.
Dataset read_single_file(const fs::path& root) {
  const AnnotationTable table(root / kAnnotations);
  CarBuilder cars;
  cars.set_names(table.names("class_names"));
  for (std::int64_t row = 0; row < table.rows(); ++row)
    cars.add(table.place(row), root / table.text(row, "relative_im_path"), table.id(row, "class"));
  return cars.finish(root / kAnnotations);
}

// Layout B: the development kit. The test pictures' classes came in a file of their own, which lies
// in devkit/ or beside it.
Dataset read_devkit(const fs::path& root) {
  const fs::path devkit = root / "devkit";
  fs::path test = devkit / "cars_test_annos_withlabels.mat";
  if (!fs::exists(test)) test = root / test.filename();
  check<DataError>(fs::exists(test), "data set cars: expected cars_test_annos_withlabels.mat in ",
                   devkit.string(), " or ", root.string(),
                   ": cars_test_annos.mat does not tell the classes of the test pictures");
  CarBuilder cars;
  if (fs::exists(devkit / "cars_meta.mat"))
    cars.set_names(
        AnnotationTable::names_of(MatFile::read(devkit / "cars_meta.mat"), "class_names"));
  for (const auto& [file, folder] :
       {std::pair{devkit / kTrainAnnotations, "cars_train"}, std::pair{test, "cars_test"}}) {
    const AnnotationTable table(file);
    for (std::int64_t row = 0; row < table.rows(); ++row)
      cars.add(table.place(row), root / folder / table.text(row, "fname"), table.id(row, "class"));
  }
  return cars.finish(devkit);
}

// Layout C: tables without a header, 00001.jpg,39,116,569,375,14, and pictures in folders named as
// their class, with - for /.
Dataset read_tables(const fs::path& root) {
  CarBuilder cars;
  const CsvTable names = CsvTable::read_without_header(root / "names.csv", {"name"});
  std::vector<std::string> texts;
  for (std::int64_t row = 0; row < names.rows(); ++row) texts.push_back(names.text(row, "name"));
  cars.set_names(std::move(texts));
  fs::path pictures = root;
  for (const char* folder : {"car_data", "car_data/car_data"})
    if (fs::is_directory(root / folder / "train")) pictures = root / folder;
  for (const std::string split : {"train", "test"}) {
    const CsvTable table = CsvTable::read_without_header(
        root / ("anno_" + split + ".csv"), {"fname", "x_1", "y_1", "x_2", "y_2", "class"});
    for (std::int64_t row = 0; row < table.rows(); ++row) {
      const std::string& text = table.text(row, "class");
      const auto id = parse_number<std::int64_t>(text);
      check<DataError>(id && *id >= 1 && *id <= std::ssize(cars.names()), table.place(row),
                       ": class ", text, " of ", cars.names().size(), " classes in names.csv");
      std::string folder = cars.names()[static_cast<std::size_t>(*id - 1)];
      std::replace(folder.begin(), folder.end(), '/', '-');
      cars.add(table.place(row), pictures / split / folder / table.text(row, "fname"), *id);
    }
  }
  return cars.finish(root);
}

bool has_tables(const fs::path& folder) {
  return fs::exists(folder / "anno_train.csv") && fs::exists(folder / "anno_test.csv") &&
         fs::exists(folder / "names.csv");
}

// Layout D: folders named as their class, whose order is that of the ids as far as the halves go.
Dataset read_folders(const fs::path& root) {
  if (!fs::is_directory(root / "train")) return read_class_folder(root, "cars");
  PartBuilder part;
  for (const char* split : {"train", "test"}) {
    if (!fs::is_directory(root / split)) continue;
    const Dataset pictures = read_class_folder(root / split, split);
    for (const Sample& sample : pictures.samples)
      part.add(sample, pictures.class_names[sample.label]);
  }
  return part.finish("cars");
}

// "Acura RL Sedan 2012", but not ImageNet's n01440764.
bool ends_in_year(const std::string& name) {
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  if (name.size() <= 4 || is_digit(name[name.size() - 5])) return false;
  const std::string year = name.substr(name.size() - 4);
  return std::ranges::all_of(year, is_digit) && (year.starts_with("19") || year.starts_with("20"));
}

std::set<std::string> folders_in(const fs::path& folder) {
  std::set<std::string> names;
  if (!fs::is_directory(folder)) return names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.is_directory()) names.insert(entry.path().filename().string());
  return names;
}

bool has_class_folders(const fs::path& folder) {
  const fs::path tree = fs::is_directory(folder / "train") ? folder / "train" : folder;
  return std::ranges::any_of(folders_in(tree), ends_in_year);
}

bool has_any_cars(const fs::path& folder) {
  return has_cars_files(folder) || has_class_folders(folder);
}

Dataset read_layout(const fs::path& root) {
  if (fs::exists(root / kAnnotations)) return read_single_file(root);
  if (fs::exists(root / "devkit" / kTrainAnnotations)) return read_devkit(root);
  if (has_tables(root)) return read_tables(root);
  return read_folders(root);
}

}  // namespace

bool has_cars_files(const fs::path& folder) {
  return fs::exists(folder / kAnnotations) || fs::exists(folder / "devkit" / kTrainAnnotations) ||
         has_tables(folder);
}

bool has_divided_cars(const fs::path& folder) {
  const std::set<std::string> train = folders_in(folder / "train");
  return !train.empty() && std::ranges::all_of(train, ends_in_year) &&
         train == folders_in(folder / "test");
}

Dataset read_cars(const fs::path& path) {
  const fs::path root =
      find_layout(path, {"cars196", "CARS196", "stanford_cars", "car_data"}, has_any_cars, "cars",
                  "cars_annos.mat, devkit/cars_train_annos.mat, anno_train.csv, anno_test.csv and "
                  "names.csv, or a folder per class (\"Acura RL Sedan 2012\")");
  Dataset all = read_layout(root);
  check_official_halves(kOfficial, path, all);
  return all;
}

}  // namespace proxent::detail
