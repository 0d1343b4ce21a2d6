// What the benchmark readers have in common: finding their files, and counting the pictures.
#include <algorithm>

#include "data/formats.h"

namespace proxent::detail {
namespace {

std::string there(const OfficialPart& part) {
  return std::to_string(part.pictures) + " of " + counted(part.classes, "class", "classes");
}

}  // namespace

std::string listing(const fs::path& folder) {
  constexpr std::size_t kShown = 8;
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    const bool is_folder = entry->is_directory(ignored);
    names.push_back(entry->path().filename().string() + (is_folder ? "/" : ""));
  }
  if (names.empty()) return "nothing";
  std::sort(names.begin(), names.end());
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i)
    text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
}

void check_official_counts(const OfficialCounts& official, const fs::path& path,
                           const OfficialPart& train, const OfficialPart& test) {
  if (train.classes != official.train.classes || test.classes != official.test.classes) return;
  if (train.pictures == official.train.pictures && test.pictures == official.test.pictures) return;
  const std::int64_t pictures = train.pictures + test.pictures;
  std::string_view reason =
      "Some pictures are missing or too many, so results could not be compared";
  for (const auto& known : official.explanations)
    if (pictures == known.pictures) reason = known.reason;
  fail<DataError>("data set ", path.string(), ": all classes of ", official.name,
                  " are there, but ", there(train), " train and ", there(test), " test; expected ",
                  official.train.pictures, " and ", official.test.pictures, ". ", reason,
                  ". To use the pictures as they are, open them as --dataset folder or csv");
}

void check_official_halves(const OfficialCounts& official, const fs::path& path,
                           const Dataset& all) {
  if (all.classes() != official.train.classes + official.test.classes) return;
  const auto trains = [&](const Sample& s) { return s.label < official.train.classes; };
  const std::int64_t first = std::count_if(all.samples.begin(), all.samples.end(), trains);
  check_official_counts(official, path, {official.train.classes, first},
                        {official.test.classes, all.size() - first});
}

fs::path find_layout(const fs::path& path, std::initializer_list<const char*> subfolders,
                     bool (*is_it)(const fs::path&), std::string_view name,
                     std::string_view expected) {
  fs::path root = fs::is_directory(path) ? path : path.parent_path();
  if (is_it(root)) return root;
  std::string tried = root.string();
  for (const char* subfolder : subfolders) {
    if (is_it(root / subfolder)) return root / subfolder;
    tried += (tried == root.string() ? " or its " : ", ") + std::string(subfolder) + "/";
  }
  fail<DataError>("data set ", name, ": expected ", expected, " in ", tried, "; found ",
                  listing(root), ". Known layouts:\n", known_layouts());
}

}  // namespace proxent::detail
