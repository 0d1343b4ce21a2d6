#include "train/clustering.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "tensor/parallel.h"
#include "tensor/random.h"
#include "tensor/similarity.h"
#include "tensor/topk.h"

namespace proxent {
namespace {

constexpr std::int64_t kRowTile = 4096, kCentreTile = 4096;

struct Assignment {
  std::vector<std::int32_t> cluster;
  std::vector<double> squared_distance;
  double inertia() const {
    return std::accumulate(squared_distance.begin(), squared_distance.end(), 0.0);
  }
};

// One restart.
class Lloyd {
 public:
  Lloyd(const Tensor& x, const Tensor& x_here, const KMeansOptions& options, Philox random)
      : x_(x), x_here_(x_here), options_(options), random_(random) {}

  KMeans run() {
    Tensor centres = rows_of(first_centres());
    KMeans result;
    Assignment now = assign(centres);
    while (result.iterations < options_.most_iterations && !result.has_converged) {
      centres = means(now);
      Assignment next = assign(centres);
      ++result.iterations;
      result.has_converged = next.cluster == now.cluster;
      now = std::move(next);
    }
    result.inertia = now.inertia();
    result.cluster = std::move(now.cluster);
    return result;
  }

 private:
  std::int64_t rows() const { return x_.dim(0); }
  std::int64_t dim() const { return x_.dim(1); }

  Tensor rows_of(const std::vector<std::int64_t>& numbers) const {
    Tensor picked({std::ssize(numbers), dim()}, DType::f32);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      std::copy_n(x_here_.data<float>() + numbers[i] * dim(), dim(),
                  picked.data<float>() + i * dim());
    return picked;
  }

  // Greedy k-means++: of a few rows drawn, the one that brings the rows nearest to their centres.
  std::vector<std::int64_t> first_centres() {
    const auto trials = 2 + static_cast<std::int64_t>(std::log(double(options_.clusters)));
    std::vector<std::int64_t> chosen = {random_.below(rows())};
    std::vector<double> nearest(rows(), std::numeric_limits<double>::infinity());
    take_nearer(similarities_to(chosen), 0, nearest);
    while (std::ssize(chosen) < options_.clusters) {
      std::vector<std::int64_t> candidates;
      for (std::int64_t i = 0; i < trials; ++i) candidates.push_back(draw(nearest));
      const Tensor tile = similarities_to(candidates);
      const std::int64_t best = best_candidate(tile, nearest);
      take_nearer(tile, best, nearest);
      chosen.push_back(candidates[best]);
    }
    return chosen;
  }

  // (rows, numbers), on the host.
  Tensor similarities_to(const std::vector<std::int64_t>& numbers) const {
    return similarities(x_, rows_of(numbers).to(x_.device()), Similarity::euclidean)
        .to(Device::cpu);
  }

  static void take_nearer(const Tensor& tile, std::int64_t column, std::vector<double>& nearest) {
    const float* similarity = tile.data<float>() + column;
    for (double& distance : nearest) {
      distance = std::min(distance, -double{*similarity});
      similarity += tile.dim(1);
    }
  }

  static std::int64_t best_candidate(const Tensor& tile, const std::vector<double>& nearest) {
    std::vector<double> potentials(tile.dim(1));
    const float* similarity = tile.data<float>();
    for (const double distance : nearest)
      for (double& potential : potentials)  // NOLINTNEXTLINE(*NullDereference): it has rows
        potential += std::min(distance, -double{*similarity++});
    return std::ranges::min_element(potentials) - potentials.begin();
  }

  // A row in proportion to its weight; any row where all weights are zero (more clusters than
  // different rows).
  std::int64_t draw(const std::vector<double>& weights) {
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    if (!(total > 0)) return random_.below(rows());
    double left = random_.uniform() * total;
    std::int64_t last = 0;
    for (std::int64_t r = 0; r < rows(); ++r) {
      if (weights[r] == 0) continue;
      last = r;
      left -= weights[r];
      if (left < 0) break;
    }
    return last;
  }

  Assignment assign(const Tensor& centres_here) const {
    const Tensor centres = centres_here.to(x_.device());
    Assignment found;
    for (std::int64_t first = 0; first < rows(); first += kRowTile) {
      const Tensor tile = x_.slice(first, std::min(kRowTile, rows() - first));
      TopK best = empty_top_k(tile.dim(0), 1, DType::f32, x_.device());
      for (std::int64_t c = 0; c < centres.dim(0); c += kCentreTile)
        top_k_update(best,
                     similarities(tile, centres.slice(c, std::min(kCentreTile, centres.dim(0) - c)),
                                  Similarity::euclidean),
                     c);
      for (const std::int32_t cluster : best.indices.to_vector<std::int32_t>()) {
        check<NonFiniteError>(cluster >= 0, "k_means: a row is farther from every centre than ",
                              "float32 can tell");
        found.cluster.push_back(cluster);
      }
      for (const float similarity : best.values.to_vector<float>())
        found.squared_distance.push_back(-double{similarity});
    }
    return found;
  }

  // Rows are added in their order, so the sums do not depend on threads.
  Tensor means(Assignment& assignment) const {
    const std::vector<std::vector<std::int64_t>> members = members_of(assignment);
    Tensor centres({options_.clusters, dim()}, DType::f32);
    parallel_for(options_.clusters, 1, [&](std::int64_t c) {
      std::vector<double> sum(dim());
      for (const std::int64_t row : members[c])
        for (std::int64_t d = 0; d < dim(); ++d) sum[d] += x_here_.data<float>()[row * dim() + d];
      for (std::int64_t d = 0; d < dim(); ++d)
        centres.data<float>()[c * dim() + d] =
            static_cast<float>(sum[d] / static_cast<double>(members[c].size()));
    });
    return centres;
  }

  // Rows by cluster; none is left empty.
  std::vector<std::vector<std::int64_t>> members_of(Assignment& assignment) const {
    std::vector<std::int64_t> sizes(options_.clusters);
    for (const std::int32_t cluster : assignment.cluster) ++sizes[cluster];
    for (std::int64_t c = 0; c < options_.clusters; ++c) {
      if (sizes[c] > 0) continue;
      const std::int64_t row = farthest_to_spare(assignment, sizes);
      --sizes[assignment.cluster[row]];
      ++sizes[c];
      assignment.cluster[row] = static_cast<std::int32_t>(c);
      assignment.squared_distance[row] = 0;
    }
    std::vector<std::vector<std::int64_t>> members(options_.clusters);
    for (std::int64_t row = 0; row < rows(); ++row) members[assignment.cluster[row]].push_back(row);
    return members;
  }

  std::int64_t farthest_to_spare(const Assignment& assignment,
                                 const std::vector<std::int64_t>& sizes) const {
    std::int64_t farthest = -1;
    for (std::int64_t row = 0; row < rows(); ++row)
      if (sizes[assignment.cluster[row]] > 1 &&
          (farthest < 0 ||
           assignment.squared_distance[row] > assignment.squared_distance[farthest]))
        farthest = row;
    return farthest;
  }

  const Tensor &x_, &x_here_;
  const KMeansOptions& options_;
  Philox random_;
};

// Sizes of the parts, and of their intersections.
struct Contingency {
  std::map<std::int32_t, std::int64_t> a, b;
  std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t> both;
};

double entropy(const std::map<std::int32_t, std::int64_t>& sizes, double n) {
  double sum = 0;
  for (const auto& [label, size] : sizes)
    sum -= static_cast<double>(size) / n * std::log(static_cast<double>(size) / n);
  return sum;
}

double mutual_information(const Contingency& table, double n) {
  double sum = 0;
  for (const auto& [pair, size] : table.both) {
    const auto both = static_cast<double>(size);
    const double expected = static_cast<double>(table.a.at(pair.first)) *
                            static_cast<double>(table.b.at(pair.second)) / n;
    sum += both / n * std::log(both / expected);
  }
  return std::max(0.0, sum);
}

// E[MI] = sum over parts a, b and sizes s of their intersection of P(s) s/n log(n s / (|a| |b|)), P
// hypergeometric. Parts of equal sizes have equal terms, so each pair of sizes is summed once:
// 11,318 classes have some ten different sizes.
class ExpectedInformation {
 public:
  explicit ExpectedInformation(std::int64_t n) : n_(n), log_factorial_(n + 1) {
    for (std::int64_t i = 2; i <= n; ++i)
      log_factorial_[i] = log_factorial_[i - 1] + std::log(static_cast<double>(i));
  }

  double of(const Contingency& table) const {
    double sum = 0;
    for (const auto& [a, parts_a] : how_many_of(table.a))
      for (const auto& [b, parts_b] : how_many_of(table.b))
        sum += static_cast<double>(parts_a) * static_cast<double>(parts_b) * term(a, b);
    return sum;
  }

 private:
  static std::map<std::int64_t, std::int64_t> how_many_of(
      const std::map<std::int32_t, std::int64_t>& sizes) {
    std::map<std::int64_t, std::int64_t> count;
    for (const auto& [label, size] : sizes) ++count[size];
    return count;
  }

  double term(std::int64_t a, std::int64_t b) const {
    const auto& log_f = log_factorial_;
    const auto n = static_cast<double>(n_);
    double sum = 0;
    for (std::int64_t s = std::max<std::int64_t>(1, a + b - n_); s <= std::min(a, b); ++s) {
      const double log_p = log_f[a] + log_f[b] + log_f[n_ - a] + log_f[n_ - b] - log_f[n_] -
                           log_f[s] - log_f[a - s] - log_f[b - s] - log_f[n_ - a - b + s];
      const auto size = static_cast<double>(s);
      sum += std::exp(log_p) * size / n *
             std::log(n * size / (static_cast<double>(a) * static_cast<double>(b)));
    }
    return sum;
  }

  std::int64_t n_;
  std::vector<double> log_factorial_;
};

}  // namespace

KMeans k_means(const Tensor& x, const KMeansOptions& options) {
  check(x.shape().rank() == 2 && x.dtype() == DType::f32,
        "k_means: expected (rows, features) f32, got ", x);
  check(options.clusters >= 1 && options.clusters <= x.dim(0), "k_means: ", options.clusters,
        " clusters of ", x.dim(0), " rows");
  check(options.restarts >= 1 && options.most_iterations >= 1,
        "k_means: restarts and iterations must be positive, got ", options.restarts, " and ",
        options.most_iterations);
  const Tensor here = x.to(Device::cpu);
  KMeans best;
  for (std::int64_t restart = 0; restart < options.restarts; ++restart) {
    KMeans found =
        Lloyd(x, here, options, Philox(options.seed, stream_of("k_means", restart))).run();
    if (restart == 0 || found.inertia < best.inertia) best = std::move(found);
  }
  return best;
}

PartitionAgreement partition_agreement(std::span<const std::int32_t> a,
                                       std::span<const std::int32_t> b) {
  check(a.size() == b.size(), "partition_agreement: ", a.size(), " and ", b.size(), " labels");
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  Contingency table;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ++table.a[a[i]];
    ++table.b[b[i]];
    ++table.both[{a[i], b[i]}];
  }
  if (table.a.size() < 2 || table.b.size() < 2) return {kNone, kNone, kNone, kNone};
  const auto n = static_cast<double>(a.size());
  const double entropy_a = entropy(table.a, n), entropy_b = entropy(table.b, n);
  const double information = mutual_information(table, n);
  const double expected = ExpectedInformation(std::ssize(a)).of(table);
  const double arithmetic = (entropy_a + entropy_b) / 2,
               geometric = std::sqrt(entropy_a * entropy_b);
  const auto adjusted = [&](double mean) {
    // Everything by itself on both sides: chance reaches all there is.
    constexpr double kRounding = 1e-9;
    return mean - expected > kRounding * mean ? (information - expected) / (mean - expected)
                                              : kNone;
  };
  return {.nmi_arithmetic = information / arithmetic,
          .nmi_geometric = information / geometric,
          .ami_arithmetic = adjusted(arithmetic),
          .ami_geometric = adjusted(geometric)};
}

}  // namespace proxent
