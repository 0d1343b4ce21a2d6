// Data sets of any layout as open-metric-learning's CSV.
#include <algorithm>
#include <map>

#include "data/csv_table.h"
#include "data/formats.h"

namespace proxent {
namespace {
namespace fs = std::filesystem;

struct Part {
  const char* split;
  const Dataset* dataset;
};

// The label of each class name, the same in all parts. Names that are whole numbers are labels
// already; others count from 0, in an order that keeps the classes of every part in theirs.
std::map<std::string, std::string> labels_of(const std::vector<Part>& parts) {
  std::vector<std::string> names;
  for (const Part& part : parts)
    names.insert(names.end(), part.dataset->class_names.begin(), part.dataset->class_names.end());
  std::vector<std::string> sorted = names;
  detail::sort_class_names(sorted);
  const bool are_numbers = std::all_of(sorted.begin(), sorted.end(), detail::is_whole_number);
  if (sorted.size() < names.size()) names = sorted;  // parts share classes, which are sorted then
  std::map<std::string, std::string> labels;
  for (const std::string& name : names)
    labels.emplace(name, are_numbers ? name : std::to_string(labels.size()));
  return labels;
}

// Relative to the table's folder where the picture lies below it, so that both can move together.
std::string listed_path(const std::string& path, const fs::path& folder) {
  const fs::path whole = fs::absolute(path).lexically_normal();
  const fs::path relative = whole.lexically_relative(folder);
  return relative.empty() || *relative.begin() == ".." ? whole.string() : relative.string();
}

std::string box_cells(const std::optional<CropBox>& box) {
  if (!box) return ",,,,";
  std::string cells;
  for (const std::int64_t side :
       {box->left, box->left + box->width, box->top, box->top + box->height})
    cells += "," + std::to_string(side);
  return cells;
}

}  // namespace

std::string to_csv(const DatasetSplits& splits, const fs::path& file) {
  // open-metric-learning knows no third part and calls the one that is judged validation.
  const std::vector<Part> parts{
      {"train", &splits.train},
      {"validation", &splits.validation},
      {splits.validation.is_empty() ? "validation" : "test", &splits.test}};
  bool has_category = false, has_box = false, has_fine = false;
  for (const Part& part : parts)
    for (const Sample& sample : part.dataset->samples) {
      check<UsageError>(sample.stored < 0, "data set ", part.dataset->name,
                        ": its pictures are generated or lie in one file, so a table cannot name "
                        "them");
      has_category |= !sample.category.empty();
      has_box |= sample.box.has_value();
      has_fine |= !sample.fine.empty();
    }
  const auto labels = labels_of(parts);
  const bool has_names = std::any_of(labels.begin(), labels.end(),
                                     [](const auto& entry) { return entry.first != entry.second; });
  const fs::path folder = fs::absolute(file).lexically_normal().parent_path();
  std::string text = "label,path,split,is_query,is_gallery";
  if (has_category) text += ",category";
  if (has_box) text += ",x_1,x_2,y_1,y_2";
  if (has_names) text += ",class_name";
  if (has_fine) text += ",fine_label";
  text += "\n";
  for (const Part& part : parts)
    for (const Sample& sample : part.dataset->samples) {
      const std::string& name = part.dataset->class_names[sample.label];
      text +=
          labels.at(name) + "," + csv_field(listed_path(sample.path, folder)) + "," + part.split;
      const bool trains = part.dataset == &splits.train;  // which leaves the two flags empty
      text += trains ? ",," : sample.is_query ? ",True" : ",False";
      if (!trains) text += sample.is_gallery ? ",True" : ",False";
      if (has_category) text += "," + csv_field(sample.category);
      if (has_box) text += box_cells(sample.box);
      if (has_names) text += "," + csv_field(name);
      if (has_fine) text += "," + csv_field(sample.fine);
      text += "\n";
    }
  return text;
}

}  // namespace proxent
