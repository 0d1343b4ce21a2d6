// A folder of class folders, in the order of torchvision's ImageFolder.
#include <algorithm>

#include "data/formats.h"

namespace proxent::detail {

namespace {

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with("."); }

struct Listing {
  std::vector<std::string> files, folders;  // sorted
};

Listing list_folder(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  check<DataError>(!error, "cannot list ", folder.string(), ": ", error.message());
  Listing listing;
  for (const fs::directory_entry& entry : entries) {
    if (is_hidden(entry.path())) continue;
    if (entry.is_directory(error))
      listing.folders.push_back(entry.path().string());
    else if (is_picture_name(entry.path()))
      listing.files.push_back(entry.path().string());
  }
  std::sort(listing.files.begin(), listing.files.end());
  std::sort(listing.folders.begin(), listing.folders.end());
  return listing;
}

// Every folder below and including `folder`, links followed. `above` holds the real paths of the
// folders we came through, so that a link back up ends there.
void collect_folders(const fs::path& folder, std::vector<fs::path>& above,
                     std::vector<std::string>& out) {
  std::error_code error;
  const fs::path real = fs::canonical(folder, error);
  if (error || std::find(above.begin(), above.end(), real) != above.end()) return;
  out.push_back(folder.string());
  above.push_back(real);
  for (const std::string& child : list_folder(folder).folders) collect_folders(child, above, out);
  above.pop_back();
}

}  // namespace

Dataset read_class_folder(const fs::path& root, std::string name) {
  Dataset dataset;
  dataset.name = std::move(name);
  const std::vector<std::string> class_folders =
      fs::is_directory(root) ? list_folder(root).folders : std::vector<std::string>();
  if (class_folders.empty()) refuse_layout("folder", "one folder per class", root);
  std::string empty_classes;
  for (const std::string& class_folder : class_folders) {
    std::vector<std::string> folders;
    std::vector<fs::path> above;
    collect_folders(class_folder, above, folders);
    std::sort(folders.begin(), folders.end());
    const std::size_t before = dataset.samples.size();
    const auto label = static_cast<std::int32_t>(dataset.class_names.size());
    for (const std::string& folder : folders)
      for (const std::string& file : list_folder(folder).files)
        dataset.samples.push_back({.path = file, .label = label});
    dataset.class_names.push_back(fs::path(class_folder).filename().string());
    if (dataset.samples.size() == before) empty_classes += "\n  " + class_folder;
  }
  check<DataError>(empty_classes.empty(), "data set ", root.string(),
                   ": no pictures (.jpg, .png, ...) in class folders", empty_classes);
  return dataset;
}

}  // namespace proxent::detail
