// Omniglot (Lake et al. 2015): alphabets of characters, each drawn by twenty people.
#include <algorithm>

#include "data/formats.h"

namespace proxent::detail {
namespace {

constexpr OfficialCounts kOfficial{
    .name = "Omniglot", .train = {964, 19280}, .test = {659, 13180}};  // twenty of each

// A class is "Alphabet/character01", because every alphabet counts from 1.
Dataset read_part(const fs::path& folder, std::string name) {
  std::vector<fs::path> alphabets;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && !entry.path().filename().string().starts_with('.'))
      alphabets.push_back(entry.path());
  std::sort(alphabets.begin(), alphabets.end());
  check<DataError>(!alphabets.empty(), "data set omniglot: ", folder.string(),
                   ": expected folders of alphabets, found none");
  PartBuilder part;
  for (const fs::path& alphabet : alphabets) {
    const std::string category = alphabet.filename().string();
    const Dataset characters = read_class_folder(alphabet, category);
    for (Sample sample : characters.samples) {
      sample.category = category;
      const std::string& character = characters.class_names[sample.label];
      part.add(std::move(sample), category + "/" + character);
    }
  }
  return part.finish(std::move(name));
}

}  // namespace

bool has_omniglot_files(const fs::path& folder) {
  return fs::is_directory(folder / "images_background") &&
         fs::is_directory(folder / "images_evaluation");
}

DatasetSplits read_omniglot(const fs::path& path) {
  const fs::path root = find_layout(path, {"python", "omniglot-py"}, has_omniglot_files, "omniglot",
                                    "the folders images_background/ and images_evaluation/");
  DatasetSplits splits{.train = read_part(root / "images_background", "omniglot background"),
                       .test = read_part(root / "images_evaluation", "omniglot evaluation"),
                       .description = "Omniglot"};
  check_official_counts(kOfficial, path, part_of(splits.train), part_of(splits.test));
  return splits;
}

}  // namespace proxent::detail
