// Which data set a name or a path means, and how it is divided.
#include <algorithm>
#include <numeric>

#include "data/formats.h"
#include "data/glyphs.h"
#include "data/subclasses.h"
#include "data/text_lines.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

// The first half of the classes trains, the second half tests.
DatasetSplits split_in_halves(const Dataset& all, const DatasetOptions& options) {
  if (options.only_test) return {.test = all, .description = "all classes test"};
  check<DataError>(all.classes() >= 2, "data set ", all.name, ": ", all.describe(),
                   "; splitting it into training and test classes needs at least 2");
  std::vector<std::int32_t> labels(all.classes());
  std::iota(labels.begin(), labels.end(), 0);
  const auto middle = labels.begin() + (all.classes() + 1) / 2;
  return {.train = all.of_classes({labels.begin(), middle}, all.name + " first half"),
          .test = all.of_classes({middle, labels.end()}, all.name + " second half"),
          .description =
              "no split given: the first half of the sorted classes trains, the second "
              "half tests"};
}

// The first of the names that exists in the folder; empty when none does.
fs::path first_existing(const fs::path& folder, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (fs::exists(folder / name)) return folder / name;
  return {};
}

DatasetSplits open_class_folders(const fs::path& root, const DatasetOptions& options) {
  const fs::path train = root / "train";
  const fs::path test = first_existing(root, {"test", "val", "validation"});
  if (!fs::is_directory(train) || test.empty() || !fs::is_directory(test)) {
    DatasetSplits splits = split_in_halves(detail::read_class_folder(root, "folder"), options);
    splits.description = "class folders; " + splits.description;
    return splits;
  }
  DatasetSplits splits{.train = detail::read_class_folder(train, "train"),
                       .test = detail::read_class_folder(test, test.filename().string()),
                       .description = "class folders train/ and " + test.filename().string() + "/"};
  const fs::path validation = first_existing(root, {"val", "validation"});
  if (test.filename() == "test" && fs::is_directory(validation))
    splits.validation = detail::read_class_folder(validation, validation.filename().string());
  return splits;
}

DatasetSplits open_lists(const fs::path& path, const DatasetOptions& options) {
  using detail::ListFile;
  detail::PictureOnce known;
  const auto read = [&](std::span<const ListFile> lists, std::string name) {
    return detail::read_lists(lists, std::move(name), known);
  };
  if (fs::is_regular_file(path)) {
    const ListFile whole{path};
    DatasetSplits splits = split_in_halves(read({&whole, 1}, path.stem().string()), options);
    splits.description = "list " + path.filename().string() + "; " + splits.description;
    return splits;
  }
  const ListFile train{path / "train.txt"}, test{path / "test.txt"};
  const ListFile search[] = {{path / "query.txt", true, false},
                             {path / "gallery.txt", false, true}};
  const bool has_search = fs::exists(search[0].path);
  check<DataError>(has_search == fs::exists(search[1].path), "data set ", path.string(),
                   ": query.txt and gallery.txt belong together, but ",
                   has_search ? "gallery.txt" : "query.txt",
                   " is missing. Add it, or rename the other one to test.txt if all search all");
  const bool has_train = fs::exists(train.path), has_test = has_search || fs::exists(test.path);
  if (!has_train && !has_test)
    detail::refuse_layout("list", "train.txt, test.txt, or query.txt and gallery.txt", path);
  DatasetSplits splits{.description = "lists"};
  if (has_train) {
    splits.train = read({&train, 1}, "train");
    splits.description += " train.txt";
  }
  if (has_test) {
    splits.test = has_search ? read(search, "query and gallery") : read({&test, 1}, "test");
    splits.description += has_search ? " query.txt gallery.txt" : " test.txt";
  }
  const ListFile validation{path / "val.txt"};
  if (fs::exists(validation.path)) splits.validation = read({&validation, 1}, "val");
  return splits;
}

// The .csv files of a folder, sorted; of several those that have the columns of a data set.
std::vector<fs::path> tables_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".csv") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (files.size() > 1)
    std::erase_if(files, [](const fs::path& file) { return !detail::is_csv_dataset(file); });
  return files;
}

// The table of a folder; empty when there is none or several.
fs::path only_csv(const fs::path& folder) {
  const std::vector<fs::path> tables = tables_in(folder);
  return tables.size() == 1 ? tables.front() : fs::path();
}

// Of several tables none can be meant.
void check_one_table(const fs::path& root) {
  const std::vector<fs::path> tables = tables_in(root);
  if (tables.size() < 2) return;
  fail<DataError>("data set ", root.string(), ": holds ", tables.size(),
                  " tables of pictures; name the file: --data ", tables.front().string());
}

DatasetSplits open_csv(const fs::path& path, const DatasetOptions& options) {
  const fs::path file = fs::is_directory(path) ? only_csv(path) : path;
  if (file.empty()) {
    check_one_table(path);
    detail::refuse_layout("csv", "a .csv file with the columns label and path", path);
  }
  DatasetSplits splits = detail::read_csv_dataset(file);
  if (!splits.description.empty()) return splits;
  splits = split_in_halves(splits.train, options);
  splits.description = file.filename().string() + "; " + splits.description;
  return splits;
}

DatasetSplits open_fashion_mnist(const fs::path& path, bool by_parity) {
  const fs::path folder = path.empty() ? "/usr/share/datasets/fashion-mnist" : path;
  check<DataError>(detail::has_idx_files(folder),
                   "data set fashion-mnist: expected "
                   "train-images-idx3-ubyte.gz and its three companions in ",
                   folder.string(), "; found ", detail::listing(folder),
                   ". On Debian and Ubuntu: sudo apt-get install dataset-fashion-mnist");
  return detail::read_idx_dataset(folder,
                                  {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal",
                                   "Shirt", "Sneaker", "Bag", "Ankle boot"},
                                  by_parity);
}

DatasetSplits open_glyphs(const DatasetOptions& options) {
  GlyphOptions glyphs{.seed = options.seed, .threads = options.threads};
  glyphs.face_folder = options.path;
  return glyph_dataset(glyphs);
}

// All classes of a benchmark, whose first half trains by the field's convention.
DatasetSplits open_benchmark(const Dataset& all, std::string_view name,
                             const DatasetOptions& options) {
  DatasetSplits splits = split_in_halves(all, options);
  splits.description = name;
  splits.description +=
      options.only_test ? ", all classes test" : ", the first half of the classes trains";
  return splits;
}

bool has_lists(const fs::path& folder) {
  return !first_existing(folder, {"train.txt", "test.txt", "query.txt", "gallery.txt"}).empty();
}

struct Layout {
  const char* name;                       // of --dataset
  const char* files;                      // what lies at its path; empty: it needs no path
  bool (*is_in)(const fs::path& folder);  // unmistakable, for auto; null: not to be recognised
  DatasetSplits (*open)(const DatasetOptions&);
};

// In the order in which auto asks; folder, which takes any folder, is not asked.
constexpr Layout kLayouts[] = {
    {"glyphs", "", nullptr, open_glyphs},
    {"fashion-mnist", "", nullptr,
     [](const DatasetOptions& options) {
       return open_fashion_mnist(options.path, /*by_parity=*/true);
     }},
    {"glyph-cases", "", nullptr,
     [](const DatasetOptions& options) { return with_joined_cases(open_glyphs(options)); }},
    {"fashion-mnist-coarse", "", nullptr,
     [](const DatasetOptions& options) {
       return with_coarse_clothes(open_fashion_mnist(options.path, /*by_parity=*/false));
     }},
    {"folder", "a folder per class, in one tree or in train/ and test/ (or val/)", nullptr,
     [](const DatasetOptions& options) { return open_class_folders(options.path, options); }},
    {"idx", "train-images-idx3-ubyte, train-labels-idx1-ubyte and t10k-..., gzipped or not",
     detail::has_idx_files,
     [](const DatasetOptions& options) {
       return detail::read_idx_dataset(options.path, {}, /*by_parity=*/false);
     }},
    {"cub", "images.txt, image_class_labels.txt, classes.txt and images/ (CUB-200-2011)",
     detail::has_cub_files,
     [](const DatasetOptions& options) {
       return open_benchmark(detail::read_cub(options.path), "CUB-200-2011", options);
     }},
    {"cars",
     "cars_annos.mat and car_ims/; or devkit/ with cars_train/ and cars_test/; or anno_train.csv, "
     "anno_test.csv and names.csv with car_data/; or a folder per class (Cars196)",
     detail::has_cars_files,
     [](const DatasetOptions& options) {
       return open_benchmark(detail::read_cars(options.path), "Cars196", options);
     }},
    {"sop", "Ebay_train.txt, Ebay_test.txt and *_final/ (Stanford Online Products)",
     detail::has_sop_files,
     [](const DatasetOptions& options) { return detail::read_sop(options.path); }},
    {"inshop", "Eval/list_eval_partition.txt and Img/img/ or Img/img_highres/ (In-Shop)",
     detail::has_inshop_files,
     [](const DatasetOptions& options) { return detail::read_inshop(options.path); }},
    {"omniglot", "images_background/ and images_evaluation/", detail::has_omniglot_files,
     [](const DatasetOptions& options) { return detail::read_omniglot(options.path); }},
    {"list", "train.txt with test.txt, or with query.txt and gallery.txt: lines \"path label\"",
     has_lists, [](const DatasetOptions& options) { return open_lists(options.path, options); }},
    {"csv",
     "one .csv: "
     "label,path[,split,is_query,is_gallery,category,fine_label,x_1,x_2,y_1,y_2,class_name]",
     [](const fs::path& folder) { return !only_csv(folder).empty(); },
     [](const DatasetOptions& options) { return open_csv(options.path, options); }},
};

std::string format_of_file(const fs::path& file) {
  if (file.extension() == ".mat") return "cars";
  if (file.filename() == "list_eval_partition.txt") return "inshop";
  return file.extension() == ".csv" ? "csv" : "list";
}

// The name of what unmistakably lies in the folder, or null.
const char* layout_in(const fs::path& folder) {
  for (const Layout& layout : kLayouts)
    if (layout.is_in != nullptr && layout.is_in(folder)) return layout.name;
  return nullptr;
}

// What gives a benchmark away where a file of it is missing: any of the marks, all of the needs.
struct Trace {
  const char *layout, *marks, *needs;  // names separated by blanks
};
constexpr Trace kTraces[] = {
    {"cub", "images.txt image_class_labels.txt",
     "images.txt image_class_labels.txt classes.txt images"},
    {"cars", "car_ims", "cars_annos.mat"},
    {"cars", "cars_train cars_test", "devkit/cars_train_annos.mat"},
    {"cars", "anno_train.csv anno_test.csv", "anno_train.csv anno_test.csv names.csv"},
    {"sop", "Ebay_train.txt Ebay_test.txt", "Ebay_train.txt Ebay_test.txt"},
    {"inshop", "Img/img Img/img_highres img/WOMEN img/MEN", "Eval/list_eval_partition.txt"},
    {"omniglot", "images_background images_evaluation", "images_background images_evaluation"}};

// Half of a benchmark must not become a tree of classes, silently and with other numbers.
void check_no_half(const fs::path& root) {
  detail::refuse_cub_2010(root);
  for (const Trace& trace : kTraces) {
    const auto is_there = [&](std::string_view name) { return fs::exists(root / name); };
    if (std::ranges::none_of(split_at_blanks(trace.marks), is_there)) continue;
    std::string missing;
    for (const std::string_view name : split_at_blanks(trace.needs))
      if (!is_there(name)) missing += (missing.empty() ? "" : ", ") + std::string(name);
    fail<DataError>("data set ", root.string(), ": looks like ", trace.layout, ", but lacks ",
                    missing, ". Add it, or say what it is by --dataset. Known layouts:\n",
                    known_layouts());
  }
  check<DataError>(!detail::has_divided_cars(root), "data set ", root.string(),
                   ": looks like cars, whose train/ and test/ hold pictures of the same classes; "
                   "for retrieval the classes are divided: --dataset cars. To open the two folders "
                   "as they are: --dataset folder");
}

// A folder that auto takes for a tree of classes must not be the place where data sets are kept.
void check_class_tree(const fs::path& root) {
  constexpr int kMostDatasets = 32;  // more folders than this are classes
  std::vector<fs::path> folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(root))
    if (entry.is_directory()) folders.push_back(entry.path());
  check<DataError>(!folders.empty(), "data set ", root.string(), ": found ", detail::listing(root),
                   ", which is none of the known layouts:\n", known_layouts());
  if (std::ssize(folders) > kMostDatasets) return;
  std::sort(folders.begin(), folders.end());
  for (const fs::path& folder : folders) {
    if (folder.filename() == "train" || folder.filename() == "test") continue;
    const char* name = layout_in(folder);
    if (name != nullptr && (name == std::string_view("list") || name == std::string_view("csv")))
      continue;  // notes beside a class's pictures
    check<DataError>(name == nullptr, "data set ", root.string(),
                     ": holds data sets, not classes; ", folder.filename().string(),
                     "/ is of layout ", name ? name : "", ". Name it: --data ", folder.string());
  }
}

std::string detect_format(const fs::path& path) {
  if (path.empty()) return "glyphs";
  if (fs::is_regular_file(path)) return format_of_file(path);
  if (const char* name = layout_in(path)) return name;
  check_no_half(path);
  check_one_table(path);
  check_class_tree(path);
  return "folder";
}

const Layout& layout_named(std::string_view name) {
  for (const Layout& layout : kLayouts)
    if (layout.name == name) return layout;
  std::string names = "auto";
  for (const Layout& layout : kLayouts)
    names += (&layout == &std::end(kLayouts)[-1] ? " or " : ", ") + std::string(layout.name);
  fail<UsageError>("data set must be ", names, ", got ", name);
}

}  // namespace

namespace detail {

void refuse_layout(std::string_view name, std::string_view expected, const fs::path& root,
                   const std::string& where) {
  const char* found = fs::is_directory(root) ? layout_in(root) : nullptr;
  fail<DataError>(
      "data set ", name, ": expected ", expected, " in ", where.empty() ? root.string() : where,
      "; found ", listing(root),
      found ? ", which is layout " + std::string(found) + " (--dataset " + found + ")" : "",
      ". Known layouts:\n", known_layouts());
}

}  // namespace detail

std::string known_layouts() {
  std::string text;
  for (const Layout& layout : kLayouts)
    if (layout.files[0] != 0)
      text += (text.empty() ? "  " : "\n  ") + std::string(layout.name) + ": " + layout.files;
  return text;
}

std::vector<std::string> dataset_names() {
  std::vector<std::string> names{"auto"};
  for (const Layout& layout : kLayouts) names.emplace_back(layout.name);
  return names;
}

bool dataset_needs_path(std::string_view name) {
  return name != "auto" && layout_named(name).files[0] != 0;
}

DatasetSplits open_dataset(const DatasetOptions& options) {
  check<DataError>(options.path.empty() || fs::exists(options.path), "data set ",
                   options.path.string(), ": no such file or folder",
                   options.path.is_relative() ? " in " + fs::current_path().string() : "");
  const std::string format = options.name == "auto" ? detect_format(options.path) : options.name;
  check<UsageError>(!options.path.empty() || !dataset_needs_path(format), "data set ", format,
                    ": needs the path of its files (--data)");
  DatasetSplits splits = layout_named(format).open(options);
  if (!options.accept_missing) detail::check_files_exist(splits);
  for (Dataset* part : {&splits.train, &splits.test, &splits.validation})
    part->decode = options.decode;
  const auto mention = [&](const char* role, const Dataset& part) {
    if (!part.is_empty()) splits.description += std::string("; ") + role + ": " + part.describe();
  };
  mention("train", splits.train);
  mention("validation", splits.validation);
  mention("test", splits.test);
  return splits;
}

}  // namespace proxent
