#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "data/formats.h"
#include "data/parse_number.h"
#include "tensor/random.h"

namespace proxent {
namespace fs = std::filesystem;

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
  part.list = list;
  part.stored = stored;
  part.decode = decode;
  part.samples.reserve(indices.size());
  for (const std::int64_t i : indices) {
    check(i >= 0 && i < size(), "dataset ", name, ": picture ", i, " of ", size());
    part.samples.push_back(samples[i]);
  }
  return part;
}

Dataset Dataset::evenly_spaced(std::int64_t count) const {
  if (count <= 0 || size() <= count) return *this;
  std::vector<std::int64_t> order(samples.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_partition(order.begin(), order.end(),
                        [&](std::int64_t i) { return samples[i].is_query; });
  std::vector<std::int64_t> indices(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) indices[i] = order[i * size() / count];
  std::sort(indices.begin(), indices.end());
  return subset(indices);
}

std::string Dataset::describe() const {
  std::string text =
      counted(size(), "picture", "pictures") + " of " + counted(classes(), "class", "classes");
  if (!has_query_split()) return text;
  const auto count = [&](auto is) { return std::count_if(samples.begin(), samples.end(), is); };
  return text + " (" +
         counted(count([](const Sample& s) { return s.is_query; }), "query", "queries") +
         ", gallery of " + std::to_string(count([](const Sample& s) { return s.is_gallery; })) +
         ")";
}

bool detail::is_whole_number(const std::string& text) {
  return parse_number<std::int64_t>(text).has_value();
}

void detail::sort_class_names(std::vector<std::string>& names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (std::all_of(names.begin(), names.end(), is_whole_number))
    std::stable_sort(names.begin(), names.end(), [](const auto& a, const auto& b) {
      return *parse_number<std::int64_t>(a) < *parse_number<std::int64_t>(b);
    });
}

void detail::assign_labels(Dataset& dataset, const std::vector<std::string>& texts) {
  std::vector<std::string>& names = dataset.class_names;
  names = texts;
  sort_class_names(names);
  std::map<std::string_view, std::int32_t> label_of;
  for (const std::string& name : names)
    label_of.emplace(name, static_cast<std::int32_t>(label_of.size()));
  for (std::size_t i = 0; i < texts.size(); ++i) dataset.samples[i].label = label_of.at(texts[i]);
}

void detail::check_files_exist(const DatasetSplits& splits) {
  constexpr std::int64_t kMostNamed = 20;
  struct Count {
    std::int64_t files = 0, missing = 0;
    std::string named{};
  };
  std::map<std::string, Count> lists;
  for (const Dataset* part : {&splits.train, &splits.validation, &splits.test})
    for (std::int64_t i = 0; i < (part->list.empty() ? 0 : part->size()); ++i) {
      Count& count = lists[part->list];
      ++count.files;
      std::error_code error;
      const fs::file_status status = fs::status(part->samples[i].path, error);
      if (fs::is_regular_file(status)) continue;
      if (++count.missing > kMostNamed) continue;
      count.named += "\n  " + part->samples[i].path;
      if (!fs::status_known(status)) count.named += " (" + error.message() + ")";
    }
  std::string problems;
  for (const auto& [list, count] : lists) {
    if (count.missing == 0) continue;
    problems += detail::concat(problems.empty() ? "" : "\n", list, ": ", count.missing, " of ",
                               count.files, " files do not exist:", count.named);
    if (count.missing > kMostNamed)
      problems += detail::concat("\n  and ", count.missing - kMostNamed, " more");
  }
  check<DataError>(problems.empty(), problems,
                   "\n`proxent data check --json` names all; --on-bad-image skip leaves them out");
}

std::string detail::picture_key(const Sample& sample) {
  std::string key = fs::path(sample.path).lexically_normal().string();
  if (sample.box)
    key += concat("\n", sample.box->left, " ", sample.box->top, " ", sample.box->width, " ",
                  sample.box->height);
  return key;
}

void detail::PictureOnce::add(const Sample& sample, const std::string& place) {
  const auto [at, is_new] = places_.emplace(picture_key(sample), place);
  check<DataError>(is_new, place, ": ", sample.path, " occurs twice, first at ", at->second,
                   "; it would be learned twice, or found as its own match. Leave one out");
}

std::vector<std::string> shared_classes(const Dataset& a, const Dataset& b) {
  const std::set<std::string> known(a.class_names.begin(), a.class_names.end());
  std::vector<std::string> shared;
  std::copy_if(b.class_names.begin(), b.class_names.end(), std::back_inserter(shared),
               [&](const std::string& name) { return known.contains(name); });
  return shared;
}

std::vector<SharedClasses> shared_classes(const DatasetSplits& splits) {
  const std::pair<std::string_view, const Dataset*> parts[] = {
      {"training", &splits.train}, {"validation", &splits.validation}, {"test", &splits.test}};
  std::vector<SharedClasses> shared;
  for (std::size_t b = 0; b < std::size(parts); ++b)
    for (std::size_t a = 0; a < b; ++a) {
      std::vector<std::string> names = shared_classes(*parts[a].second, *parts[b].second);
      if (!names.empty()) shared.push_back({parts[a].first, parts[b].first, std::move(names)});
    }
  return shared;
}

namespace {

// Pictures in memory that lie in two places, in one.
std::shared_ptr<const StoredPictures> joined(const std::shared_ptr<const StoredPictures>& a,
                                             const std::shared_ptr<const StoredPictures>& b) {
  check<UsageError>(a->height == b->height && a->width == b->width, "the parts hold pictures of ",
                    a->width, "x", a->height, " and of ", b->width, "x", b->height,
                    ", which lie in no one array; choose one part");
  StoredPictures both = *a;
  both.pixels.insert(both.pixels.end(), b->pixels.begin(), b->pixels.end());
  return std::make_shared<const StoredPictures>(std::move(both));
}

void append(Dataset& all, const Dataset& part) {
  std::map<std::string_view, std::int32_t> label_of;
  for (const std::string& name : all.class_names)
    label_of.emplace(name, static_cast<std::int32_t>(label_of.size()));
  std::vector<std::int32_t> new_label;
  std::vector<std::string> new_names;
  for (const std::string& name : part.class_names) {
    const auto next = static_cast<std::int32_t>(label_of.size());
    const auto [at, is_new] = label_of.emplace(name, next);
    new_label.push_back(at->second);
    if (is_new) new_names.push_back(name);
  }
  std::int64_t stored_before = 0;
  if (all.stored && part.stored && all.stored != part.stored) {
    stored_before = std::ssize(all.stored->pixels) / (all.stored->height * all.stored->width);
    all.stored = joined(all.stored, part.stored);
  } else if (!all.stored) {
    all.stored = part.stored;
  }
  for (const Sample& sample : part.samples) {
    all.samples.push_back(sample);
    all.samples.back().label = new_label[sample.label];
    if (sample.stored >= 0) all.samples.back().stored += stored_before;
  }
  std::ranges::move(new_names, std::back_inserter(all.class_names));
  all.name += " and " + part.name;
  if (all.list != part.list) all.list.clear();
}

}  // namespace

Dataset all_parts(const DatasetSplits& splits) {
  Dataset all;
  for (const Dataset* part : {&splits.train, &splits.validation, &splits.test}) {
    if (part->is_empty()) continue;
    if (all.is_empty())
      all = *part;
    else
      append(all, *part);
  }
  return all;
}

std::pair<Dataset, Dataset> split_off_classes(const Dataset& train, double share,
                                              std::uint64_t seed) {
  check<UsageError>(share > 0 && share < 1,
                    "the share of validation classes must be between 0 and "
                    "1, got ",
                    share);
  check<UsageError>(train.classes() >= 2, "data set ", train.name, " has ",
                    counted(train.classes(), "class", "classes"),
                    "; splitting off validation classes needs at least 2");
  std::vector<std::int32_t> labels(train.classes());
  std::iota(labels.begin(), labels.end(), 0);
  Philox random(seed, stream_of("validation classes"));
  shuffle(labels, random);
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

std::pair<Dataset, Dataset> hold_out_fold(const Dataset& train, std::int64_t fold,
                                          std::int64_t folds) {
  check<UsageError>(folds >= 2 && 0 <= fold && fold < folds, "fold ", fold, "/", folds,
                    ": expected FOLD/FOLDS with at least 2 folds, counted from 0");
  const std::int64_t classes = train.classes();
  check<UsageError>(classes >= 2 * folds, "data set ", train.name, " has ", classes,
                    " classes to train on; ", folds, " folds need at least ", 2 * folds,
                    ", two classes each");
  const std::int64_t begin = fold * classes / folds, end = (fold + 1) * classes / folds;
  std::vector<std::int32_t> in, out;
  for (std::int32_t label = 0; label < classes; ++label)
    (begin <= label && label < end ? out : in).push_back(label);
  return {train.of_classes(in, train.name),
          train.of_classes(out, detail::concat(train.name, " fold ", fold, "/", folds))};
}

}  // namespace proxent
