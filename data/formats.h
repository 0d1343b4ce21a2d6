// The readers behind open_dataset, private to data/.
#pragma once

#include <span>

#include "data/dataset.h"

namespace proxent::detail {

namespace fs = std::filesystem;

// Maps texts[i], the label of samples[i], to 0 .. C-1: numbers by value, other texts by their
// bytes.
void assign_labels(Dataset& dataset, const std::vector<std::string>& texts);

// DataError listing what does not exist, at most 20 of them, and how many there are. Boxes and
// repeats aside, one path per sample.
void check_files_exist(const std::vector<Sample>& samples, const fs::path& list);

// A tree of class folders; the classes sorted, the pictures of a class sorted by folder and name.
Dataset read_class_folder(const fs::path& root, std::string name);

struct ListFile {
  fs::path path;
  bool is_query = true, is_gallery = true;
};
// Lists that make up one data set. A file that is in several becomes one sample.
Dataset read_lists(std::span<const ListFile> lists, std::string name);

DatasetSplits read_csv_dataset(const fs::path& file);

// `by_parity`: even classes train, odd ones test.
DatasetSplits read_idx_dataset(const fs::path& folder, std::vector<std::string> class_names,
                               bool by_parity);
bool has_idx_files(const fs::path& folder);

}  // namespace proxent::detail
