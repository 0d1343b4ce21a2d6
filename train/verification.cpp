#include "train/verification.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/parallel.h"
#include "train/pair_tiles.h"

namespace proxent {
namespace {

using Rows = std::vector<std::int64_t>;

constexpr std::int64_t kBins = 1 << 18;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kNothingAccepted = std::numeric_limits<double>::infinity();

// Pairs by score, from low to high.
struct Histogram {
  std::vector<std::int64_t> positives = std::vector<std::int64_t>(kBins);
  std::vector<std::int64_t> negatives = std::vector<std::int64_t>(kBins);

  void add(const Histogram& other) {
    for (std::int64_t bin = 0; bin < kBins; ++bin) {
      positives[bin] += other.positives[bin];
      negatives[bin] += other.negatives[bin];
    }
  }
};

// Which bin a similarity belongs to.
struct Scale {
  Distance distance;
  double low, high;

  std::int64_t bin(float similarity) const {
    const double score =
        distance == Distance::cosine ? similarity : -std::sqrt(std::max(0.0, -double{similarity}));
    const double place = (score - low) / (high - low) * kBins;
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(place)), 0, kBins - 1);
  }
  double lower_edge(std::int64_t bin) const {
    return low + (high - low) * static_cast<double>(bin) / kBins;
  }
};

// No two rows are farther from each other than twice the longest.
Scale scale_of(const Tensor& embeddings, Distance distance) {
  if (distance == Distance::cosine) return {distance, -1, 1};
  const Tensor here = embeddings.to(Device::cpu);
  double longest = 0;
  for (std::int64_t r = 0; r < here.dim(0); ++r) {
    double squares = 0;
    for (std::int64_t d = 0; d < here.dim(1); ++d) {
      const double v = here.data<float>()[r * here.dim(1) + d];
      squares += v * v;
    }
    longest = std::max(longest, std::sqrt(squares));
  }
  return {distance, longest > 0 ? -2 * longest : -1, 0};
}

class PairCount {
 public:
  PairCount(const Tensor& embeddings, std::span<const std::int32_t> labels,
            const RetrievalOptions& options)
      : embeddings_(embeddings),
        labels_(labels),
        options_(options),
        queries_(listed_rows(options.queries, embeddings.dim(0), "query")),
        gallery_(listed_rows(options.gallery, embeddings.dim(0), "gallery")),
        is_query_(marked(queries_)),
        is_gallery_(marked(gallery_)),
        scale_(scale_of(embeddings, options.distance)),
        parts_(omp_get_max_threads()) {}

  Histogram run() {
    const Device device = embeddings_.device();
    const RankedRows gallery = ranked_rows(gallery_, options_, device);
    const Tensor features = features_of(embeddings_, gallery, options_.distance);
    const RankedRows queries = ranked_rows(queries_, options_, device);
    const auto [step, columns] = tile_size(options_, device);
    for (std::int64_t first = 0; first < std::ssize(queries_); first += step) {
      const std::int64_t count = std::min(step, std::ssize(queries_) - first);
      const Tensor x = features_of(embeddings_, queries.slice(first, count), options_.distance);
      for_each_tile(x, features, options_.distance, columns,
                    [&](std::int64_t first_column, const Tensor& tile) {
                      count_tile(tile.to(Device::cpu), first, first_column);
                    });
    }
    Histogram all;
    for (const Histogram& part : parts_) all.add(part);
    return all;
  }

  const Scale& scale() const { return scale_; }

 private:
  std::vector<bool> marked(const Rows& rows) const {
    std::vector<bool> marks(embeddings_.dim(0));
    for (const std::int64_t row : rows) marks[row] = true;
    return marks;
  }
  std::int32_t group_of(std::int64_t row) const {
    return options_.groups.empty() ? -1 : options_.groups[row];
  }
  // Where both rows are queries and gallery, the pair comes twice.
  bool comes_again(std::int64_t query, std::int64_t row) const {
    return row < query && is_query_[row] && is_gallery_[query];
  }

  void count_tile(const Tensor& tile, std::int64_t first_query, std::int64_t first_column) {
    const std::int64_t columns = tile.dim(1);
    constexpr std::int64_t kRowsPerThread = 16;
    parallel_for(tile.dim(0), kRowsPerThread, [&](std::int64_t i) {
      Histogram& part = parts_[omp_get_thread_num()];
      const std::int64_t query = queries_[first_query + i];
      for (std::int64_t j = 0; j < columns; ++j) {
        const std::int64_t row = gallery_[first_column + j];
        if (comes_again(query, row) ||
            is_excluded(static_cast<std::int32_t>(query), group_of(query),
                        static_cast<std::int32_t>(row), group_of(row)))
          continue;
        const std::int64_t bin = scale_.bin(tile.data<float>()[i * columns + j]);
        ++(labels_[row] == labels_[query] ? part.positives : part.negatives)[bin];
      }
    });
  }

  const Tensor& embeddings_;
  std::span<const std::int32_t> labels_;
  const RetrievalOptions& options_;
  const Rows queries_, gallery_;
  const std::vector<bool> is_query_, is_gallery_;
  const Scale scale_;
  std::vector<Histogram> parts_;  // of each thread
};

void add_area(const Histogram& pairs, Verification& result) {
  const double all = static_cast<double>(result.positives) * static_cast<double>(result.negatives);
  double higher = 0, equal = 0;
  std::int64_t negatives_below = 0;
  for (std::int64_t bin = 0; bin < kBins; ++bin) {
    const auto positives = static_cast<double>(pairs.positives[bin]);
    higher += positives * static_cast<double>(negatives_below);
    equal += positives * static_cast<double>(pairs.negatives[bin]);
    negatives_below += pairs.negatives[bin];
  }
  result.auc = (higher + equal / 2) / all;
  result.auc_error = equal / 2 / all;
}

// The lowest edge above which few enough pairs of two classes lie.
RocPoint point_at(const Histogram& pairs, const Scale& scale, const Verification& counts,
                  double far_target) {
  const auto positives = static_cast<double>(counts.positives);
  const auto negatives = static_cast<double>(counts.negatives);
  std::int64_t bin = kBins, accepted = 0, falsely_accepted = 0;
  while (bin > 0 && static_cast<double>(falsely_accepted + pairs.negatives[bin - 1]) <=
                        far_target * negatives) {
    --bin;
    accepted += pairs.positives[bin];
    falsely_accepted += pairs.negatives[bin];
  }
  return {.far_target = far_target,
          .tar = static_cast<double>(accepted) / positives,
          .far = static_cast<double>(falsely_accepted) / negatives,
          .threshold = bin < kBins ? scale.lower_edge(bin) : kNothingAccepted,
          .is_known = far_target * negatives >= 1};
}

std::vector<RocPoint> curve_of(const Histogram& pairs, const Scale& scale,
                               const Verification& counts) {
  constexpr int kPerDecade = 20;
  std::vector<RocPoint> curve;
  for (int i = 0;; ++i) {
    const RocPoint point =
        point_at(pairs, scale, counts, std::pow(10, -static_cast<double>(i) / kPerDecade));
    if (!point.is_known) return curve;
    if (curve.empty() || point.far != curve.back().far || point.tar != curve.back().tar)
      curve.push_back(point);
  }
}

}  // namespace

Verification verify(const Tensor& embeddings, std::span<const std::int32_t> labels,
                    const RetrievalOptions& options, std::span<const double> far_targets) {
  check_retrieval(embeddings, labels, options);
  for (const double far : far_targets)
    check<UsageError>(far > 0 && far <= 1, "verify: a false accept rate is above 0 and at most 1, ",
                      "got ", far);
  PairCount count(embeddings, labels, options);
  const Histogram pairs = count.run();
  Verification result{.auc = kNone, .auc_error = kNone};
  for (std::int64_t bin = 0; bin < kBins; ++bin) {
    result.positives += pairs.positives[bin];
    result.negatives += pairs.negatives[bin];
  }
  const bool has_both = result.positives > 0 && result.negatives > 0;
  if (has_both) {
    add_area(pairs, result);
    result.curve = curve_of(pairs, count.scale(), result);
  }
  for (const double far : far_targets)
    result.points.push_back(has_both ? point_at(pairs, count.scale(), result, far)
                                     : RocPoint{far, kNone, kNone, kNone, false});
  return result;
}

}  // namespace proxent
