#include "data/dataset.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "data/formats.h"
#include "data/glyphs.h"
#include "tensor/random.h"

namespace proxent {
namespace {
namespace fs = std::filesystem;

std::optional<std::int64_t> as_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

int thread_count(int asked) {
  if (asked > 0) return asked;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

bool Dataset::has_query_split() const {
  return std::any_of(samples.begin(), samples.end(),
                     [](const Sample& s) { return !s.is_query || !s.is_gallery; });
}

Image Dataset::load(std::int64_t i) const {
  check(i >= 0 && i < size(), "dataset ", name, ": picture ", i, " of ", size());
  const Sample& sample = samples[i];
  if (sample.stored < 0) {
    Image image = load_image(sample.path, decode);
    if (!sample.box) return image;
    const CropBox& box = *sample.box;
    check<DataError>(box.top + box.height <= image.height && box.left + box.width <= image.width,
                     "picture ", sample.path, ": its box of ", box.width, "x", box.height, " at (",
                     box.left, ", ", box.top, ") leaves the picture of ", image.width, "x",
                     image.height);
    return crop(image, box);
  }
  Image image(stored->height, stored->width);
  const std::int64_t count = stored->height * stored->width;
  const std::uint8_t* gray = stored->pixels.data() + sample.stored * count;
  for (std::int64_t p = 0; p < count; ++p)
    std::fill_n(image.pixels.data() + p * Image::kChannels, Image::kChannels, gray[p]);
  return image;
}

std::vector<std::vector<std::int64_t>> Dataset::samples_by_class() const {
  std::vector<std::vector<std::int64_t>> by_class(class_names.size());
  for (std::int64_t i = 0; i < size(); ++i) by_class[samples[i].label].push_back(i);
  return by_class;
}

Dataset Dataset::of_classes(const std::vector<std::int32_t>& labels, std::string new_name) const {
  Dataset part = subset({});
  part.name = std::move(new_name);
  part.class_names.clear();
  std::vector<std::int32_t> new_label(class_names.size(), -1);
  for (const std::int32_t label : labels) {
    check(label >= 0 && label < classes(), "dataset ", name, ": class ", label, " of ", classes());
    new_label[label] = static_cast<std::int32_t>(part.class_names.size());
    part.class_names.push_back(class_names[label]);
  }
  for (const Sample& sample : samples) {
    if (new_label[sample.label] < 0) continue;
    part.samples.push_back(sample);
    part.samples.back().label = new_label[sample.label];
  }
  return part;
}

Dataset Dataset::subset(const std::vector<std::int64_t>& indices) const {
  Dataset part;
  part.name = name;
  part.class_names = class_names;
  part.stored = stored;
  part.decode = decode;
  part.samples.reserve(indices.size());
  for (const std::int64_t i : indices) {
    check(i >= 0 && i < size(), "dataset ", name, ": picture ", i, " of ", size());
    part.samples.push_back(samples[i]);
  }
  return part;
}

std::string Dataset::describe() const {
  const std::string text =
      counted(size(), "picture", "pictures") + " of " + counted(classes(), "class", "classes");
  if (!has_query_split()) return text;
  const auto count = [&](auto is) { return std::count_if(samples.begin(), samples.end(), is); };
  return text + " (" +
         counted(count([](const Sample& s) { return s.is_query; }), "query", "queries") +
         ", gallery of " + std::to_string(count([](const Sample& s) { return s.is_gallery; })) +
         ")";
}

void detail::assign_labels(Dataset& dataset, const std::vector<std::string>& texts) {
  std::vector<std::string>& names = dataset.class_names;
  names = texts;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (std::all_of(names.begin(), names.end(), [](const auto& n) { return as_integer(n); }))
    std::stable_sort(names.begin(), names.end(),
                     [](const auto& a, const auto& b) { return *as_integer(a) < *as_integer(b); });
  std::map<std::string_view, std::int32_t> label_of;
  for (const std::string& name : names)
    label_of.emplace(name, static_cast<std::int32_t>(label_of.size()));
  for (std::size_t i = 0; i < texts.size(); ++i) dataset.samples[i].label = label_of.at(texts[i]);
}

void detail::check_files_exist(const std::vector<Sample>& samples, const fs::path& list) {
  constexpr std::int64_t kMostNamed = 20;
  std::int64_t missing = 0;
  std::string named;
  for (const Sample& sample : samples) {
    std::error_code error;
    if (fs::is_regular_file(sample.path, error)) continue;
    if (++missing <= kMostNamed) named += "\n  " + sample.path;
  }
  if (missing > kMostNamed) named += "\n  and " + std::to_string(missing - kMostNamed) + " more";
  check<DataError>(missing == 0, list.string(), ": ", missing, " of ", samples.size(),
                   " files do not exist:", named);
}

namespace {

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
  using detail::read_lists;
  if (fs::is_regular_file(path)) {
    const ListFile whole{path};
    DatasetSplits splits = split_in_halves(read_lists({&whole, 1}, path.stem().string()), options);
    splits.description = "list " + path.filename().string() + "; " + splits.description;
    return splits;
  }
  const ListFile train{path / "train.txt"}, test{path / "test.txt"};
  const ListFile search[] = {{path / "query.txt", true, false},
                             {path / "gallery.txt", false, true}};
  const bool has_search = fs::exists(search[0].path) && fs::exists(search[1].path);
  const bool has_train = fs::exists(train.path), has_test = has_search || fs::exists(test.path);
  check<DataError>(has_train || has_test, "data set ", path.string(),
                   ": expected train.txt, test.txt, or query.txt and gallery.txt there");
  DatasetSplits splits{.description = "lists"};
  if (has_train) {
    splits.train = read_lists({&train, 1}, "train");
    splits.description += " train.txt";
  }
  if (has_test) {
    splits.test =
        has_search ? read_lists(search, "query and gallery") : read_lists({&test, 1}, "test");
    splits.description += has_search ? " query.txt gallery.txt" : " test.txt";
  }
  const ListFile validation{path / "val.txt"};
  if (fs::exists(validation.path)) splits.validation = read_lists({&validation, 1}, "val");
  return splits;
}

// The only .csv file of a folder; empty when there is none or several.
fs::path only_csv(const fs::path& folder) {
  fs::path found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".csv") continue;
    if (!found.empty()) return {};
    found = entry.path();
  }
  return found;
}

DatasetSplits open_csv(const fs::path& path, const DatasetOptions& options) {
  const fs::path file = fs::is_directory(path) ? only_csv(path) : path;
  check<DataError>(!file.empty(), "data set ", path.string(),
                   ": expected exactly one .csv file in this folder; name the file itself");
  DatasetSplits splits = detail::read_csv_dataset(file);
  if (!splits.description.empty()) return splits;
  splits = split_in_halves(splits.train, options);
  splits.description = file.filename().string() + "; " + splits.description;
  return splits;
}

DatasetSplits open_fashion_mnist(const fs::path& path) {
  const fs::path folder = path.empty() ? "/usr/share/datasets/fashion-mnist" : path;
  check<DataError>(detail::has_idx_files(folder), "fashion-mnist: ", folder.string(),
                   " does not hold train-images-idx3-ubyte.gz and its three companions; on Debian "
                   "and Ubuntu: sudo apt-get install dataset-fashion-mnist");
  return detail::read_idx_dataset(folder,
                                  {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal",
                                   "Shirt", "Sneaker", "Bag", "Ankle boot"},
                                  /*by_parity=*/true);
}

std::string detect_format(const fs::path& path) {
  if (path.empty()) return "glyphs";
  if (fs::is_regular_file(path)) return path.extension() == ".csv" ? "csv" : "list";
  if (detail::has_idx_files(path)) return "idx";
  if (!first_existing(path, {"train.txt", "test.txt", "query.txt"}).empty()) return "list";
  return only_csv(path).empty() ? "folder" : "csv";
}

DatasetSplits open_format(const std::string& format, const DatasetOptions& options) {
  const fs::path& path = options.path;
  if (format == "glyphs") {
    GlyphOptions glyphs{.seed = options.seed, .threads = options.threads};
    glyphs.face_folder = path;
    return glyph_dataset(glyphs);
  }
  if (format == "fashion-mnist") return open_fashion_mnist(path);
  check<UsageError>(!path.empty(), "data set ", format, ": needs the path of its files (--data)");
  if (format == "folder") return open_class_folders(path, options);
  if (format == "list") return open_lists(path, options);
  if (format == "csv") return open_csv(path, options);
  if (format == "idx") return detail::read_idx_dataset(path, {}, /*by_parity=*/false);
  fail<UsageError>("data set must be auto, folder, list, csv, idx, fashion-mnist or glyphs, got ",
                   format);
}

}  // namespace

DatasetSplits open_dataset(const DatasetOptions& options) {
  check<DataError>(options.path.empty() || fs::exists(options.path), "data set ",
                   options.path.string(), ": no such file or folder");
  const std::string format = options.name == "auto" ? detect_format(options.path) : options.name;
  DatasetSplits splits = open_format(format, options);
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

std::vector<std::string> shared_classes(const Dataset& a, const Dataset& b) {
  const std::set<std::string> known(a.class_names.begin(), a.class_names.end());
  std::vector<std::string> shared;
  std::copy_if(b.class_names.begin(), b.class_names.end(), std::back_inserter(shared),
               [&](const std::string& name) { return known.contains(name); });
  return shared;
}

std::pair<Dataset, Dataset> split_off_classes(const Dataset& train, double share,
                                              std::uint64_t seed) {
  check<UsageError>(share > 0 && share < 1,
                    "the share of validation classes must be between 0 and "
                    "1, got ",
                    share);
  check<UsageError>(train.classes() >= 2, "data set ", train.name, " has ", train.classes(),
                    " class(es); splitting off validation classes needs at least 2");
  std::vector<std::int32_t> labels(train.classes());
  std::iota(labels.begin(), labels.end(), 0);
  Philox random(seed, stream_of("validation classes"));
  for (std::int64_t i = train.classes() - 1; i > 0; --i)
    std::swap(labels[i], labels[random.below(i + 1)]);
  const std::int64_t least = train.classes() >= 4 ? 2 : 1;
  const auto taken = std::clamp<std::int64_t>(
      std::llround(share * static_cast<double>(train.classes())), least, train.classes() - least);
  std::vector<std::int32_t> out(labels.begin(), labels.begin() + taken);
  std::vector<std::int32_t> in(labels.begin() + taken, labels.end());
  std::sort(out.begin(), out.end());
  std::sort(in.begin(), in.end());
  return {train.of_classes(in, train.name),
          train.of_classes(out, train.name + " validation classes")};
}

}  // namespace proxent
