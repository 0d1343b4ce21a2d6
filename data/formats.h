// The readers behind open_dataset, private to data/.
#pragma once

#include <array>
#include <map>
#include <span>

#include "data/dataset.h"

namespace proxent::detail {

namespace fs = std::filesystem;

bool is_whole_number(const std::string& text);
// Each name once: numbers by value where all are numbers, other texts by their bytes.
void sort_class_names(std::vector<std::string>& names);
// Maps texts[i], the label of samples[i], to 0 .. C-1 in the order of sort_class_names.
void assign_labels(Dataset& dataset, const std::vector<std::string>& texts);

// One part of a data set, picture by picture.
struct PartBuilder {
  Dataset dataset;
  std::vector<std::string> labels;
  void add(Sample sample, std::string label) {
    dataset.samples.push_back(std::move(sample));
    labels.push_back(std::move(label));
  }
  // The part, with labels assigned; nothing may be added after it.
  Dataset finish(std::string name) {
    dataset.name = std::move(name);
    assign_labels(dataset, labels);
    return std::move(dataset);
  }
};

// DataError telling for every list (Dataset::list) how many of its files do not exist, and the
// first 20 of them, with the system's reason where they may exist.
void check_files_exist(const DatasetSplits& splits);

// The same for every spelling of a picture's path, and for the same part of the file.
std::string picture_key(const Sample& sample);

// The pictures of a data set, of all its lists.
class PictureOnce {
 public:
  // DataError naming both places, "train.txt:7", when the file, or that part of it, was added
  // before.
  void add(const Sample& sample, const std::string& place);

 private:
  std::map<std::string, std::string> places_;
};

// A tree of class folders; the classes sorted, the pictures of a class sorted by folder and name.
Dataset read_class_folder(const fs::path& root, std::string name);

struct ListFile {
  fs::path path;
  bool is_query = true, is_gallery = true;
};
// Lists that make up one part of a data set, whose other parts' pictures are `known`. A file that
// several of these lists name becomes one sample.
Dataset read_lists(std::span<const ListFile> lists, std::string name, PictureOnce& known);

DatasetSplits read_csv_dataset(const fs::path& file);
// Whether the header has the columns of such a table.
bool is_csv_dataset(const fs::path& file);

// `by_parity`: even classes train, odd ones test.
DatasetSplits read_idx_dataset(const fs::path& folder, const std::vector<std::string>& class_names,
                               bool by_parity);
bool has_idx_files(const fs::path& folder);

// The benchmark data sets of the field, in the layouts they are handed out in. Each has_..._files
// says whether a folder is unmistakably one; each reader throws DataError for what is wrong.

// CUB-200-2011: all classes, in the order of their ids.
Dataset read_cub(const fs::path& path);
bool has_cub_files(const fs::path& folder);
void refuse_cub_2010(const fs::path& folder);  // DataError if it holds the smaller first edition

// Cars196 in any of its four layouts: all classes, in the order of their ids.
Dataset read_cars(const fs::path& path);
bool has_cars_files(const fs::path& folder);
// Whether train/ and test/ hold the same classes, all named by a model and its year: Cars196 as
// class folders, which only --dataset cars may divide anew.
bool has_divided_cars(const fs::path& folder);

DatasetSplits read_sop(const fs::path& path);
bool has_sop_files(const fs::path& folder);

DatasetSplits read_inshop(const fs::path& path);
bool has_inshop_files(const fs::path& folder);

DatasetSplits read_omniglot(const fs::path& path);
bool has_omniglot_files(const fs::path& folder);

// What a benchmark's part must hold for its published numbers to mean anything.
struct OfficialPart {
  std::int64_t classes = 0, pictures = 0;
  std::int64_t queries = 0, gallery = 0;  // where both differ from the pictures
};
OfficialPart part_of(const Dataset& dataset);
struct OfficialCounts {
  std::string_view name;  // "CUB-200-2011"
  OfficialPart train, test;
  // Numbers of pictures in all that have a known reason, and that reason.
  struct Explanation {
    std::int64_t pictures = 0;
    std::string_view reason{};
  };
  std::array<Explanation, 2> explanations{};
};
// DataError when all the classes are there, but not all the pictures, or others of them are queries
// or in the gallery, with the reason if it is known. Parts of a set, such as miniatures, pass.
void check_official_counts(const OfficialCounts& official, const fs::path& path,
                           const OfficialPart& train, const OfficialPart& test);
// The same for a set whose first classes train.
void check_official_halves(const OfficialCounts& official, const fs::path& path,
                           const Dataset& all);

// `path` itself or the first of the subfolders, whichever `is_it` accepts; DataError naming what
// was `expected` where, what lies there, and every known layout.
fs::path find_layout(const fs::path& path, std::initializer_list<const char*> subfolders,
                     bool (*is_it)(const fs::path&), std::string_view name,
                     std::string_view expected);
// DataError: what layout `name` expects `where` (empty: in `root`), what lies in `root` instead,
// which layout that is if it is unmistakable, and every known layout.
[[noreturn]] void refuse_layout(std::string_view name, std::string_view expected,
                                const fs::path& root, const std::string& where = {});
// The first names in a folder, sorted: what a user sees who has taken the wrong one.
std::string listing(const fs::path& folder);

}  // namespace proxent::detail
