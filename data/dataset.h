// Labelled pictures: what they are, where they lie, and how to open a data set of any known format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/image.h"
#include "data/transform.h"

namespace proxent {

struct Sample {
  std::string path{};        // the file, or a name for messages when the picture lies in memory
  std::int64_t stored = -1;  // index into Dataset::stored; -1: read `path`
  std::int32_t label = 0;    // 0 .. class_names.size() - 1
  std::string group{};  // what a query must not be matched within (a font family); empty: nothing
  std::string category{};  // what metrics may be broken down by; empty: nothing
  std::string fine{};  // a finer label that training does not see and proxies may find; or empty
  bool is_query = true, is_gallery = true;  // both: every other picture is searched for it
  std::optional<CropBox> box{};             // the part of the file that is the picture
};

// Gray pictures of one size, back to back.
struct StoredPictures {
  std::int64_t height = 0, width = 0;
  std::vector<std::uint8_t> pixels;
};

class Dataset {
 public:
  std::string name;
  std::vector<Sample> samples;
  std::vector<std::string> class_names;  // as the files write them
  std::string list;  // the file that names the pictures; empty: they were found, or are in memory
  std::shared_ptr<const StoredPictures> stored;
  DecodeOptions decode;

  std::int64_t size() const { return static_cast<std::int64_t>(samples.size()); }
  std::int64_t classes() const { return static_cast<std::int64_t>(class_names.size()); }
  bool is_empty() const { return samples.empty(); }
  // Whether queries search a gallery of other pictures, rather than all searching all.
  bool has_query_split() const;

  // Picture i, decoded; gray ones repeated to RGB. Any number of threads may call it. DataError
  // naming file and reason.
  Image load(std::int64_t i) const;
  // The samples of each class, in order.
  std::vector<std::vector<std::int64_t>> samples_by_class() const;
  // The samples of some classes, relabelled 0 .. n-1 in the order given.
  Dataset of_classes(const std::vector<std::int32_t>& labels, std::string name) const;
  // The samples of these indices; classes and labels stay.
  Dataset subset(const std::vector<std::int64_t>& indices) const;
  // At most `count` samples, evenly spaced, so that classes stay as long as they can; of queries
  // and of the rest by itself, since lists that name them in turn would lose the one or the other.
  // 0: all.
  Dataset evenly_spaced(std::int64_t count) const;
  // "2990 pictures of 100 classes", with queries and gallery where they differ.
  std::string describe() const;
};

struct DatasetSplits {
  Dataset train{}, test{};
  Dataset validation{};       // only where the data names one; else empty, see split_off_classes
  std::string description{};  // format, counts, and how the split came about
};

struct DatasetOptions {
  // auto, or one of the layouts below. auto: by what lies at the path; without a path, glyphs.
  std::string name = "auto";
  std::filesystem::path path{};
  // A single class tree or list is split by class for training; this keeps all of it as test.
  bool only_test = false;
  // Pictures that a list names and that do not exist stay in the data set, for somebody who loads
  // every one of them anyway.
  bool accept_missing = false;
  std::uint64_t seed = 1;  // of generated data (glyphs)
  int threads = 0;         // for generated data; 0: as many as the machine has
  DecodeOptions decode{};
};

// Opens a data set:
//   folder         train/ and test/ (or val/), each a tree of class folders as torchvision's
//                  ImageFolder; or one such tree, whose first half of the classes, in sorted order,
//                  trains and whose second half tests (as the field does with CUB and Cars)
//   list           lines "path label", paths relative to the list's folder: train.txt with test.txt
//                  or query.txt and gallery.txt (which win), or one list, split as one tree
//   csv            open-metric-learning's: label,path,split,is_query,is_gallery and optionally
//                  category,fine_label,x_1,x_2,y_1,y_2,class_name; quoted fields as RFC 4180
//   idx            MNIST's four files, gzipped or not; the same classes train and test
//   fashion-mnist  the same, but even classes train and odd classes test; from Debian's package
//   glyphs         Debian's typefaces, see data/glyphs.h; with a path, the faces below it
//   fashion-mnist-coarse, glyph-cases   of these two, with classes joined, see data/subclasses.h
// and the benchmarks of the field as they are handed out, at the path or in their usual folder
// below it:
//   cub            CUB-200-2011: images.txt, image_class_labels.txt, classes.txt, images/. The
//                  first half of the classes trains (1-100), the second tests (101-200)
//   cars           Cars196, classes 1-98 and 99-196: cars_annos.mat with car_ims/; devkit/ with
//                  cars_train/ and cars_test/; anno_{train,test}.csv and names.csv with car_data/;
//                  class folders, in one tree or in train/ and test/, whose division is not used
//   sop            Stanford Online Products: Ebay_train.txt, Ebay_test.txt; category: the product
//   inshop         In-Shop: Eval/list_eval_partition.txt, Img/img/ or Img/img_highres/; queries and
//                  gallery apart; category: as "WOMEN/Dresses"
//   omniglot       images_background/ trains, images_evaluation/ tests; category: the alphabet
// Where all classes of a benchmark are there, so must be its published number of pictures.
// Throws UsageError for an unknown name, DataError for what is wrong with the files, with every
// known layout where it is not the one that was asked for; files that lists name and that do not
// exist are all counted and the first 20 of each list named.
DatasetSplits open_dataset(const DatasetOptions& options);
// "auto" and the names of all layouts.
std::vector<std::string> dataset_names();
// "  cub: images.txt, ...": a line for each layout of files, for messages and help.
std::string known_layouts();
// Whether that layout is of files, which must be named. UsageError for an unknown name.
bool dataset_needs_path(std::string_view name);

// A table of layout csv that opens as the same data set when it is written to `file`: parts,
// order, labels, categories, boxes, queries and gallery. Pictures below the file's folder are named
// relative to it, others by their whole path. Labels are whole numbers, as open-metric-learning
// wants them; classes with other names have those in a column class_name. The test part is called
// validation there, as open-metric-learning does; only beside a validation part, which that does
// not read, it is test. UsageError for pictures that are not files.
std::string to_csv(const DatasetSplits& splits, const std::filesystem::path& file);

// The names of the classes that both parts have, in b's order.
std::vector<std::string> shared_classes(const Dataset& a, const Dataset& b);
// The same of each two parts that have any in common: "training", "validation", "test".
struct SharedClasses {
  std::string_view first, second;
  std::vector<std::string> names;
};
std::vector<SharedClasses> shared_classes(const DatasetSplits& splits);

// The pictures of training, validation and test, in this order; classes of one name are one. Throws
// UsageError if parts hold pictures in memory of different sizes.
Dataset all_parts(const DatasetSplits& splits);

// Takes `share` of the classes (rounded) out of a training set: first what stays, then the taken
// ones, both relabelled. Of four classes or more at least two are taken, because retrieval among
// one class cannot fail, and at least two stay; of fewer at least one. Which classes depends on the
// seed alone. UsageError unless 0 < share < 1 and there are two classes.
std::pair<Dataset, Dataset> split_off_classes(const Dataset& train, double share,
                                              std::uint64_t seed);

// A fold of class-disjoint cross-validation: the classes in their order are cut into `folds` equal
// runs (to one class), of which run number `fold` is held out: first what stays, then what is held
// out, both relabelled. No chance is involved, so every seed has the same folds (Musgrave et al.
// 2020, "A Metric Learning Reality Check", section 3.3). UsageError unless 0 <= fold < folds and
// every fold gets two classes, below which retrieval in it cannot fail.
std::pair<Dataset, Dataset> hold_out_fold(const Dataset& train, std::int64_t fold,
                                          std::int64_t folds);

}  // namespace proxent
