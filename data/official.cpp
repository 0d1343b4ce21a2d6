// What the benchmark readers have in common: finding their files, and counting the pictures.
#include <algorithm>

#include "data/formats.h"

namespace proxent::detail {
namespace {

std::string roles(const OfficialPart& part) {
  if (part.queries == 0 && part.gallery == 0) return "";
  return " (" + counted(part.queries, "query", "queries") + ", gallery of " +
         std::to_string(part.gallery) + ")";
}

std::string there(const OfficialPart& part) {
  return std::to_string(part.pictures) + " of " + counted(part.classes, "class", "classes");
}

bool are_same(const OfficialPart& a, const OfficialPart& b) {
  return a.pictures == b.pictures && a.queries == b.queries && a.gallery == b.gallery;
}

std::string_view reason_for(const OfficialCounts& official, const OfficialPart& train,
                            const OfficialPart& test) {
  for (const auto& known : official.explanations)
    if (train.pictures + test.pictures == known.pictures) return known.reason;
  if (train.pictures != official.train.pictures || test.pictures != official.test.pictures)
    return "Some pictures are missing or too many, so results could not be compared";
  return test.queries == official.test.gallery && test.gallery == official.test.queries
             ? "Queries and gallery are exchanged"
             : "All pictures are there, but others are queries than in the published list";
}

}  // namespace

std::string listing(const fs::path& folder) {
  constexpr std::size_t kShown = 8;
  std::vector<std::string> names;
  std::error_code error;
  if (fs::is_regular_file(folder, error)) return "a file";
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

OfficialPart part_of(const Dataset& dataset) {
  OfficialPart part{dataset.classes(), dataset.size()};
  if (!dataset.has_query_split()) return part;
  part.queries = std::ranges::count_if(dataset.samples, &Sample::is_query);
  part.gallery = std::ranges::count_if(dataset.samples, &Sample::is_gallery);
  return part;
}

void check_official_counts(const OfficialCounts& official, const fs::path& path,
                           const OfficialPart& train, const OfficialPart& test) {
  if (train.classes != official.train.classes || test.classes != official.test.classes) return;
  if (are_same(train, official.train) && are_same(test, official.test)) return;
  fail<DataError>("data set ", path.string(), ": all classes of ", official.name,
                  " are there, but ", there(train), " train and ", there(test), " test",
                  roles(test), "; expected ", official.train.pictures, " and ",
                  official.test.pictures, roles(official.test), ". ",
                  reason_for(official, train, test),
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
  refuse_layout(name, expected, root, tried);
}

}  // namespace proxent::detail
