#include "data/dataset_report.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "data/parallel.h"
#include "data/perceptual_hash.h"
#include "tensor/random.h"

namespace proxent {
namespace {

// One picture of one split.
struct Entry {
  const Dataset* dataset;
  std::int64_t index;
  const Sample& sample() const { return dataset->samples[index]; }
  const std::string& class_name() const { return dataset->class_names[sample().label]; }
};

// What a thread finds out about one picture.
struct Finding {
  std::string error;
  ImageInfo info;
  std::uint64_t hash = 0;             // of its bytes
  std::optional<std::uint64_t> look;  // perceptual
};

std::vector<std::uint8_t> picture_bytes(const Entry& entry) {
  const Sample& sample = entry.sample();
  if (sample.stored < 0) return read_file(sample.path);
  const StoredPictures& stored = *entry.dataset->stored;
  const std::uint8_t* first = stored.pixels.data() + sample.stored * stored.height * stored.width;
  return {first, first + stored.height * stored.width};
}

Finding look_at(const Entry& entry) {
  Finding finding;
  try {
    const std::vector<std::uint8_t> bytes = picture_bytes(entry);
    finding.hash = stream_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    if (entry.sample().stored < 0) {
      finding.info = inspect_image(bytes, entry.sample().path);
    } else {
      finding.info.kind = PixelKind::gray;
      finding.info.height = entry.dataset->stored->height;
      finding.info.width = entry.dataset->stored->width;
    }
    finding.look = perceptual_hash(entry.dataset->load(entry.index));
  } catch (const DataError& error) {
    finding.error = error.message();
  }
  return finding;
}

std::vector<Finding> look_at_all(const std::vector<Entry>& entries, int threads) {
  std::vector<Finding> findings(entries.size());
  detail::for_each_index(std::ssize(entries), threads,
                         [&](std::int64_t i) { findings[i] = look_at(entries[i]); });
  return findings;
}

void count_kinds(const std::vector<Finding>& findings, DatasetReport& report) {
  for (const Finding& finding : findings) {
    if (!finding.error.empty()) continue;
    const ImageInfo& info = finding.info;
    report.gray += info.kind == PixelKind::gray || info.kind == PixelKind::gray_alpha;
    report.palette += info.kind == PixelKind::palette;
    report.alpha += info.kind == PixelKind::gray_alpha || info.kind == PixelKind::rgb_alpha;
    report.cmyk += info.kind == PixelKind::cmyk;
    report.sixteen_bit += info.bits == 16;
    report.exif_turned += info.orientation != 1;
    const auto [low, high] = std::minmax(info.height, info.width);
    report.smallest_side =
        report.smallest_side == 0 ? low : std::min<std::int64_t>(report.smallest_side, low);
    report.largest_side = std::max<std::int64_t>(report.largest_side, high);
  }
}

// Whether both stand in one ranking: evaluated together, and not of a group that never meets.
bool may_meet(const Entry& a, const Entry& b, const Dataset& train) {
  const bool is_evaluated = a.dataset == b.dataset && a.dataset != &train;
  return is_evaluated && (a.sample().group.empty() || a.sample().group != b.sample().group);
}

// Pictures of equal bytes and box; each is compared with the first of its kind.
void find_identical(const std::vector<Entry>& entries, const std::vector<Finding>& findings,
                    const Dataset& train, DatasetReport& report) {
  const auto corners = [](const std::optional<CropBox>& box) {
    return box ? std::array{box->top, box->left, box->height, box->width}
               : std::array<std::int64_t, 4>{};
  };
  std::map<std::pair<std::uint64_t, std::array<std::int64_t, 4>>, std::vector<std::size_t>> by_look;
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (findings[i].error.empty())
      by_look[{findings[i].hash, corners(entries[i].sample().box)}].push_back(i);
  for (const auto& [look, same] : by_look) {
    for (std::size_t k = 1; k < same.size(); ++k) {
      const Entry &a = entries[same[0]], &b = entries[same[k]];
      if (picture_bytes(a) != picture_bytes(b)) continue;
      report.identical.push_back({.first = a.sample().path,
                                  .second = b.sample().path,
                                  .is_across_splits = a.dataset != b.dataset,
                                  .is_evaluated = may_meet(a, b, train),
                                  .has_other_class = a.class_name() != b.class_name()});
    }
  }
}

// Every picture of a part against those of all parts before it. `bounds`: where parts begin among
// the entries, and the end.
void find_near(const std::vector<Entry>& entries, const std::vector<Finding>& findings,
               const std::vector<std::size_t>& bounds, int threads, DatasetReport& report) {
  std::set<std::string> known;
  for (const DatasetReport::Identical& pair : report.identical) known.insert(pair.second);
  std::vector<std::optional<std::uint64_t>> looks;
  for (const Finding& finding : findings) looks.push_back(finding.look);
  const std::span<const std::optional<std::uint64_t>> all(looks);
  for (std::size_t p = 1; p + 1 < bounds.size(); ++p) {
    const std::size_t begin = bounds[p];
    const auto nearest = nearest_hashes(all.subspan(begin, bounds[p + 1] - begin), all.first(begin),
                                        kNearBits, threads);
    for (std::size_t i = 0; i < nearest.size(); ++i) {
      const Entry& entry = entries[begin + i];
      if (nearest[i].index < 0 || known.contains(entry.sample().path)) continue;
      const Entry& earlier = entries[nearest[i].index];
      report.near.push_back({.first = earlier.sample().path,
                             .second = entry.sample().path,
                             .bits = nearest[i].bits,
                             .has_other_class = earlier.class_name() != entry.class_name()});
    }
  }
  std::stable_sort(report.near.begin(), report.near.end(),
                   [](const auto& a, const auto& b) { return a.bits < b.bits; });
}

void find_lone_classes(const Dataset& dataset, const char* role, DatasetReport& report) {
  const auto by_class = dataset.samples_by_class();
  for (std::size_t c = 0; c < by_class.size(); ++c)
    if (by_class[c].size() == 1)
      report.lone_classes.push_back(std::string(role) + ": " + dataset.class_names[c]);
}

// Queries whose class has no gallery picture but themselves and those of their own group.
void find_without_match(const Dataset& dataset, const char* role, DatasetReport& report) {
  std::vector<std::int64_t> gallery(dataset.class_names.size());
  std::map<std::pair<std::int32_t, std::string>, std::int64_t> in_group;
  for (const Sample& sample : dataset.samples) {
    if (!sample.is_gallery) continue;
    ++gallery[sample.label];
    if (!sample.group.empty()) ++in_group[{sample.label, sample.group}];
  }
  std::int64_t with_match = 0;
  for (const Sample& sample : dataset.samples) {
    if (!sample.is_query) continue;
    const std::int64_t own =
        sample.group.empty() ? (sample.is_gallery ? 1 : 0) : in_group[{sample.label, sample.group}];
    if (gallery[sample.label] == own)
      report.queries_without_match.push_back(sample.path);
    else
      ++with_match;
  }
  if (!dataset.is_empty() && with_match == 0)
    report.impossible.push_back(std::string(role) + ": no query has a match in the gallery");
}

}  // namespace

DatasetReport check_datasets(const DatasetSplits& splits, int threads) {
  DatasetReport report;
  std::vector<Entry> entries;
  std::vector<std::size_t> bounds{0};
  for (const Dataset* part : {&splits.train, &splits.validation, &splits.test}) {
    for (std::int64_t i = 0; i < part->size(); ++i) entries.push_back({part, i});
    bounds.push_back(entries.size());
  }
  report.pictures = static_cast<std::int64_t>(entries.size());

  const std::vector<Finding> findings = look_at_all(entries, threads);
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (!findings[i].error.empty())
      report.unreadable.push_back({entries[i].sample().path, findings[i].error});
  count_kinds(findings, report);
  find_identical(entries, findings, splits.train, report);
  find_near(entries, findings, bounds, threads, report);

  find_lone_classes(splits.train, "train", report);
  find_lone_classes(splits.validation, "validation", report);
  find_lone_classes(splits.test, "test", report);
  for (const SharedClasses& shared : shared_classes(splits))
    for (const std::string& name : shared.names)
      if (std::ranges::find(report.shared_classes, name) == report.shared_classes.end())
        report.shared_classes.push_back(name);
  find_without_match(splits.validation, "validation", report);
  find_without_match(splits.test, "test", report);
  if (splits.train.classes() == 1)
    report.impossible.push_back("train: one class only, and a loss needs two to tell apart");
  return report;
}

bool DatasetReport::is_sound() const {
  return unreadable.empty() && shared_classes.empty() && impossible.empty() &&
         std::ranges::none_of(identical, &Identical::is_harmful);
}

namespace {

template <class Items, class Line>
void add_list(std::ostream& text, const char* title, const Items& items, std::size_t most,
              Line line) {
  if (items.empty()) return;
  text << title << ": " << items.size() << "\n";
  for (std::size_t i = 0; i < std::min(most, items.size()); ++i)
    text << "  " << line(items[i]) << "\n";
  if (items.size() > most) text << "  and " << items.size() - most << " more\n";
}

}  // namespace

std::string DatasetReport::to_text(std::size_t most) const {
  std::ostringstream text;
  text << pictures << " pictures, sides of " << smallest_side << " to " << largest_side
       << " pixels: " << gray << " gray, " << palette << " palette, " << alpha << " with alpha, "
       << cmyk << " CMYK, " << sixteen_bit << " of 16 bits, " << exif_turned << " turned by EXIF\n";
  add_list(text, "unreadable pictures", unreadable, most,
           [](const Unreadable& bad) { return bad.reason; });
  add_list(text, "classes in more than one part", shared_classes, most,
           [](const std::string& name) { return name; });
  add_list(text, "classes with one picture", lone_classes, most,
           [](const std::string& name) { return name; });
  add_list(text, "identical pictures", identical, most, [](const Identical& pair) {
    return pair.first + " = " + pair.second + (pair.is_across_splits ? " (across splits)" : "") +
           (pair.is_evaluated ? " (twice in what is tested)" : "") +
           (pair.has_other_class ? " (other class)" : "");
  });
  add_list(text, "pictures alike across splits", near, most, [](const Near& pair) {
    return pair.first + " ~ " + pair.second + " (" + counted(pair.bits, "bit", "bits") + " of 64" +
           (pair.has_other_class ? ", other class)" : ")");
  });
  add_list(text, "queries without a match in the gallery", queries_without_match, most,
           [](const std::string& path) { return path; });
  for (const std::string& reason : impossible) text << reason << "\n";
  return text.str();
}

}  // namespace proxent
