#include "data/dataset_stats.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "data/parallel.h"

namespace proxent {
namespace {

struct Size {
  std::int64_t height = 0, width = 0;  // zero: unreadable
};

Size size_of(const Dataset& dataset, const Sample& sample) {
  if (sample.stored >= 0) return {dataset.stored->height, dataset.stored->width};
  if (sample.box) return {sample.box->height, sample.box->width};
  try {
    const ImageInfo info = inspect_image(read_file(sample.path), sample.path);
    return {info.height, info.width};
  } catch (const DataError&) {
    return {};
  }
}

template <class T>
Spread<T> spread_of(std::vector<T> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {values.front(), values[(values.size() - 1) / 2], values.back()};
}

void count_classes(const Dataset& part, PartStats& stats) {
  constexpr std::int64_t kMostBins = 10;
  std::vector<std::int64_t> counts;
  for (const auto& pictures : part.samples_by_class()) counts.push_back(std::ssize(pictures));
  stats.per_class = spread_of(counts);
  const std::int64_t least = stats.per_class.least, range = stats.per_class.most - least + 1;
  const std::int64_t width = (range + kMostBins - 1) / kMostBins;
  for (std::int64_t low = least; low < least + range; low += width)
    stats.per_class_bins.push_back({low, low + width - 1, 0});
  for (const std::int64_t count : counts) ++stats.per_class_bins[(count - least) / width].classes;
}

void count_sizes(const Dataset& part, int threads, PartStats& stats) {
  std::vector<Size> sizes(part.samples.size());
  detail::for_each_index(part.size(), threads,
                         [&](std::int64_t i) { sizes[i] = size_of(part, part.samples[i]); });
  std::vector<std::int64_t> widths, heights;
  std::vector<double> aspects;
  for (const Size& size : sizes) {
    if (size.height == 0) {
      ++stats.unreadable;
      continue;
    }
    widths.push_back(size.width);
    heights.push_back(size.height);
    aspects.push_back(static_cast<double>(size.width) / static_cast<double>(size.height));
    const auto& edges = PartStats::kAspects;
    const auto bin = std::upper_bound(edges.begin(), edges.end(), aspects.back()) - edges.begin();
    ++stats.aspect_bins[bin];
  }
  stats.width = spread_of(widths);
  stats.height = spread_of(heights);
  stats.aspect = spread_of(aspects);
}

PartStats stats_of(const Dataset& part, std::string role, int threads) {
  PartStats stats{.role = std::move(role), .pictures = part.size(), .classes = part.classes()};
  for (const Sample& sample : part.samples) {
    stats.queries += sample.is_query;
    stats.gallery += sample.is_gallery;
    if (!sample.category.empty()) ++stats.categories[sample.category];
  }
  count_classes(part, stats);
  count_sizes(part, threads, stats);
  return stats;
}

struct Bar {
  std::string label;
  std::int64_t count = 0;
};

// "  10-14      12 ####", the longest bar 40 wide.
void add_bars(std::ostream& text, const std::vector<Bar>& bars) {
  constexpr std::int64_t kWidth = 40;
  std::int64_t most = 1;
  std::size_t label = 0;
  for (const Bar& bar : bars) {
    most = std::max(most, bar.count);
    label = std::max(label, bar.label.size());
  }
  for (const Bar& bar : bars) {
    const std::int64_t length = (bar.count * kWidth + most - 1) / most;
    text << "    " << std::left << std::setw(static_cast<int>(label)) << bar.label << std::right
         << std::setw(9) << bar.count << (length > 0 ? " " : "")
         << std::string(static_cast<std::size_t>(length), '#') << "\n";
  }
}

std::vector<Bar> aspect_bars(const PartStats& stats) {
  constexpr std::array<const char*, PartStats::kAspects.size() + 1> kLabels{
      "below 1:2",   "1:2 to 2:3", "2:3 to 9:10", "about square",
      "10:9 to 3:2", "3:2 to 2:1", "2:1 or wider"};
  std::vector<Bar> bars;
  for (std::size_t i = 0; i < kLabels.size(); ++i)
    bars.push_back({kLabels[i], stats.aspect_bins[i]});
  return bars;
}

template <class T>
std::ostream& operator<<(std::ostream& text, const Spread<T>& spread) {
  return text << spread.least << " to " << spread.most << ", median " << spread.median;
}

}  // namespace

std::string PartStats::to_text() const {
  std::ostringstream text;
  text << std::setprecision(3) << role << ": " << counted(pictures, "picture", "pictures") << " of "
       << counted(classes, "class", "classes");
  if (queries != pictures || gallery != pictures)
    text << " (" << counted(queries, "query", "queries") << ", gallery of " << gallery << ")";
  text << "\n  pictures per class: " << per_class << "\n";
  std::vector<Bar> bars;
  for (const Bin& bin : per_class_bins)
    bars.push_back({bin.low == bin.high
                        ? std::to_string(bin.low)
                        : std::to_string(bin.low) + " to " + std::to_string(bin.high),
                    bin.classes});
  add_bars(text, bars);
  if (!categories.empty()) {
    text << "  pictures per category: " << counted(std::ssize(categories), "category", "categories")
         << "\n";
    bars.clear();
    constexpr std::size_t kMostShown = 40;
    for (const auto& [category, count] : categories)
      if (bars.size() < kMostShown) bars.push_back({category, count});
    add_bars(text, bars);
    if (categories.size() > bars.size())
      text << "    and " << categories.size() - bars.size() << " more\n";
  }
  text << "  width: " << width << "\n  height: " << height << "\n  width / height: " << aspect
       << "\n";
  add_bars(text, aspect_bars(*this));
  if (unreadable > 0)
    text << "  left out because unreadable: " << unreadable << " (proxent data check names them)\n";
  return text.str();
}

std::vector<PartStats> dataset_stats(const DatasetSplits& splits, int threads) {
  std::vector<PartStats> all;
  for (const auto& [role, part] :
       {std::pair{"train", &splits.train}, std::pair{"validation", &splits.validation},
        std::pair{"test", &splits.test}})
    if (!part->is_empty()) all.push_back(stats_of(*part, role, threads));
  return all;
}

}  // namespace proxent
