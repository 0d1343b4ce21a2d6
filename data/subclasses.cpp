#include "data/subclasses.h"

#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include "data/csv_table.h"

namespace proxent {
namespace {

bool is_letter(const std::string& name, char first, char last) {
  return name.size() == 1 && name[0] >= first && name[0] <= last;
}

// "A" and "a" -> "Aa"; "" where the other case is not there.
std::string both_cases(const std::string& name, const std::set<std::string>& present) {
  const bool is_upper = is_letter(name, 'A', 'Z');
  if (!is_upper && !is_letter(name, 'a', 'z')) return "";
  constexpr char kBetweenCases = 'a' - 'A';
  const std::string upper(1, static_cast<char>(name[0] - (is_upper ? 0 : kBetweenCases)));
  const std::string lower(1, static_cast<char>(upper[0] + kBetweenCases));
  return present.contains(upper) && present.contains(lower) ? upper + lower : "";
}

// The samples of every third group in sorted order, or of the others.
Dataset of_groups(const Dataset& dataset, bool is_third, std::string name) {
  std::map<std::string, int> number;
  for (const Sample& sample : dataset.samples) number.emplace(sample.group, 0);
  for (int next = 0; auto& [group, n] : number) n = next++;
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < dataset.size(); ++i)
    if ((number[dataset.samples[static_cast<std::size_t>(i)].group] % 3 == 2) == is_third)
      indices.push_back(i);
  Dataset part = dataset.subset(indices);
  part.name = std::move(name);
  return part;
}

std::string coarse_cloth(const std::string& name) {
  if (name == "Trouser" || name == "Dress") return "bottoms";
  if (name == "Sandal" || name == "Sneaker" || name == "Ankle boot") return "shoes";
  return name == "Bag" ? "bags" : "tops";
}

// One name for a file, however its path is written. Of a path that no file can have, the path.
std::string file_name_of(const std::filesystem::path& path) {
  std::error_code error;
  const auto canonical = std::filesystem::weakly_canonical(path, error);
  return error ? path.string() : canonical.string();
}

}  // namespace

Dataset with_joined_classes(const Dataset& dataset,
                            const std::function<std::string(const std::string&)>& new_name,
                            std::string name) {
  std::vector<std::int32_t> label(dataset.class_names.size(), -1), kept;
  std::map<std::string, std::int32_t> label_of;
  std::vector<std::string> names;
  for (std::size_t c = 0; c < label.size(); ++c) {
    const std::string joined = new_name(dataset.class_names[c]);
    if (joined.empty()) continue;
    const auto [found, is_new] = label_of.emplace(joined, static_cast<std::int32_t>(names.size()));
    if (is_new) names.push_back(joined);
    label[c] = found->second;
    kept.push_back(static_cast<std::int32_t>(c));
  }
  Dataset part = dataset.of_classes(kept, std::move(name));
  for (Sample& sample : part.samples) {
    const std::int32_t old = kept[static_cast<std::size_t>(sample.label)];
    sample.fine = dataset.class_names[static_cast<std::size_t>(old)];
    sample.label = label[static_cast<std::size_t>(old)];
  }
  part.class_names = std::move(names);
  return part;
}

DatasetSplits with_joined_cases(const DatasetSplits& glyphs) {
  const std::vector<std::string>& names = glyphs.train.class_names;
  const std::set<std::string> present(names.begin(), names.end());
  const auto joined = [&](const std::string& name) { return both_cases(name, present); };
  const Dataset letters = with_joined_classes(
      glyphs.train, [&](const auto& name) { return joined(name).empty() ? "" : name; }, "letters");
  Dataset test = of_groups(letters, /*is_third=*/true, "letters, cases apart");
  for (Sample& sample : test.samples) sample.fine.clear();
  return {.train = with_joined_classes(of_groups(letters, /*is_third=*/false, ""), joined,
                                       "letters, cases joined"),
          .test = std::move(test),
          .description = glyphs.description.substr(0, glyphs.description.find(';')) +
                         "; the two cases of a letter are one class in training; letters of every "
                         "third family test, with the cases apart"};
}

DatasetSplits with_coarse_clothes(const DatasetSplits& clothes) {
  return {.train = with_joined_classes(clothes.train, coarse_cloth, "tops, bottoms, shoes, bags"),
          .test = clothes.test,
          .description = "IDX files; four coarse classes train, the test file is judged on ten"};
}

void read_fine_labels(Dataset& dataset, const std::filesystem::path& file) {
  namespace fs = std::filesystem;
  const CsvTable table = CsvTable::read(file);
  table.require_columns({"path", "fine_label"}, "path,fine_label");
  std::map<std::string, std::string> fine;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    const fs::path path = file.parent_path() / table.text(row, "path");
    const bool is_new = fine.emplace(file_name_of(path), table.text(row, "fine_label")).second;
    check<DataError>(is_new, table.place(row), ": ", table.text(row, "path"), " is there twice");
  }
  std::int64_t found = 0;
  for (Sample& sample : dataset.samples) {
    const auto label = fine.find(file_name_of(sample.path));
    if (label == fine.end()) continue;
    sample.fine = label->second;
    ++found;
  }
  check<DataError>(found > 0, file.string(), ": none of its ", table.rows(),
                   " paths is a picture of ", dataset.describe(),
                   "; paths are taken relative to the table's folder");
}

}  // namespace proxent
