#include "train/diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "tensor/gather.h"
#include "tensor/matmul.h"
#include "tensor/parallel.h"
#include "tensor/similarity.h"
#include "train/eigenvalues.h"

namespace proxent {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kMaxRows = 10'000;
constexpr std::int64_t kFewRows = 512;
constexpr std::int64_t kMaxPairRows = 5'000;  // 12.5 million pairs

// Of length one; zero rows stay zero.
Tensor unit_rows_in_double(const Tensor& x) {
  Tensor unit = x.to(DType::f64);
  const std::int64_t dim = x.dim(1);
  for (std::int64_t r = 0; r < x.dim(0); ++r) {
    double* row = unit.data<double>() + r * dim;
    const double length = std::sqrt(std::inner_product(row, row + dim, row, 0.0));
    if (length > 0) std::transform(row, row + dim, row, [&](double v) { return v / length; });
  }
  return unit;
}

std::vector<double> mean_row(const Tensor& x) {
  std::vector<double> mean(x.dim(1));
  for (std::int64_t r = 0; r < x.dim(0); ++r)
    for (std::int64_t c = 0; c < x.dim(1); ++c) mean[c] += x.data<double>()[r * x.dim(1) + c];
  for (double& m : mean) m /= static_cast<double>(x.dim(0));
  return mean;
}

// Eigenvalues in rising order as shares of their sum, falling. Those below the rounding of the
// largest are zeros. Empty where all are.
std::vector<double> shares_of(std::vector<double> eigenvalues) {
  if (eigenvalues.empty() || eigenvalues.back() <= 0) return {};
  std::ranges::reverse(eigenvalues);
  const double zero = std::numeric_limits<double>::epsilon() *
                      static_cast<double>(eigenvalues.size()) * eigenvalues.front();
  for (double& value : eigenvalues)
    if (value <= zero) value = 0;
  const double sum = std::accumulate(eigenvalues.begin(), eigenvalues.end(), 0.0);
  for (double& value : eigenvalues) value /= sum;
  return eigenvalues;
}

// A singular value is the root of an eigenvalue; NaN of no spectrum.
double effective_rank(const std::vector<double>& spectrum) {
  double sum = 0, entropy = 0;
  for (const double share : spectrum) sum += std::sqrt(share);
  for (const double share : spectrum) {
    const double p = std::sqrt(share) / sum;
    if (share > 0) entropy -= p * std::log(p);
  }
  return spectrum.empty() ? kNothing : std::exp(entropy);
}

// Sums of vectors of one kind, from which the mean cosine distance over pairs of different ones
// follows: 1 - (|sum|^2 - sum of |v|^2) / (n (n - 1)).
struct PairSums {
  std::vector<double> sum;
  double squares = 0;
  std::int64_t count = 0;

  void add(const double* v, std::int64_t dim) {
    sum.resize(dim);
    for (std::int64_t d = 0; d < dim; ++d) sum[d] += v[d];
    squares += std::inner_product(v, v + dim, v, 0.0);
    ++count;
  }
  double squared_sum() const {
    return std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0);
  }
  double mean_distance() const {
    if (count < 2) return kNothing;
    return 1 - (squared_sum() - squares) / (static_cast<double>(count) * (count - 1.0));
  }
};

// At most `most` rows, evenly spaced, picked where x is.
Tensor spread_rows(const Tensor& x, std::int64_t most) {
  const std::int64_t rows = x.dim(0);
  if (rows <= most) return x;
  std::vector<std::int32_t> index(most);
  for (std::int64_t r = 0; r < most; ++r) index[r] = static_cast<std::int32_t>(r * rows / most);
  return gather_rows(x, Tensor::from({most}, index).to(x.device()));
}

// At most `most` rows, minus their own mean.
Tensor centred_rows(const Tensor& unit, std::int64_t most) {
  Tensor centred = spread_rows(unit, most).clone();
  const std::int64_t dim = unit.dim(1);
  const std::vector<double> mean = mean_row(centred);
  for (std::int64_t i = 0; i < centred.numel(); ++i) centred.data<double>()[i] -= mean[i % dim];
  return centred;
}

// Of rows of length one, the spectrum of at most `most` of them: X^T X and X X^T have the same
// eigenvalues but for zeros, so the smaller one does.
EmbeddingSpread spread_of_unit(const Tensor& unit, std::int64_t most) {
  const std::int64_t dim = unit.dim(1);
  const std::vector<double> mean = mean_row(unit);
  double variance = 0;
  for (std::int64_t i = 0; i < unit.numel(); ++i) {
    const double difference = unit.data<double>()[i] - mean[i % dim];
    variance += difference * difference;
  }
  const Tensor centred = centred_rows(unit, most);
  const bool has_few_rows = centred.dim(0) < dim;
  const Tensor products = matmul(centred, centred, {!has_few_rows, has_few_rows});
  std::vector<double> spectrum =
      shares_of(symmetric_eigenvalues(products.to_vector<double>(), products.dim(0)));
  const double rank = effective_rank(spectrum);
  return {.effective_rank = rank,
          .standard_deviation = std::sqrt(variance / static_cast<double>(unit.numel())),
          .spectrum = std::move(spectrum)};
}

void add_class_distances(const Tensor& unit, std::span<const std::int32_t> labels,
                         EmbeddingDiagnostics& result) {
  const std::int64_t dim = unit.dim(1);
  std::map<std::int32_t, PairSums> classes;
  for (std::int64_t r = 0; r < unit.dim(0); ++r)
    classes[labels[r]].add(unit.data<double>() + r * dim, dim);
  PairSums means;
  double total = 0;
  double squared_distances = 0, pairs = 0;  // |x - y|^2 = 2 (1 - cosine)
  std::int64_t with_pairs = 0;
  for (auto& [label, members] : classes) {
    if (members.count > 1) {
      const double its_pairs = static_cast<double>(members.count) * (members.count - 1.0);
      total += members.mean_distance();
      squared_distances += 2 * members.mean_distance() * its_pairs;
      pairs += its_pairs;
      ++with_pairs;
    }
    const double length = std::sqrt(members.squared_sum());
    if (length > 0)
      for (double& v : members.sum) v /= length;
    means.add(members.sum.data(), dim);
  }
  result.intra = with_pairs > 0 ? total / static_cast<double>(with_pairs) : kNothing;
  result.inter = means.mean_distance();
  result.alignment = pairs > 0 ? squared_distances / pairs : kNothing;
}

// In tiles of the pairs' upper triangle; each row's sum is its own, so threads change no bit.
double uniformity(const Tensor& unit) {
  const Tensor x = spread_rows(unit, kMaxPairRows).to(DType::f32);
  const std::int64_t rows = x.dim(0);
  if (rows < 2) return kNothing;
  constexpr std::int64_t kTile = 512;
  double sum = 0;
  for (std::int64_t first = 0; first < rows; first += kTile) {
    const std::int64_t count = std::min(kTile, rows - first), columns = rows - first;
    const Tensor tile =
        similarities(x.slice(first, count), x.slice(first, columns), Similarity::euclidean);
    std::vector<double> sums(count);
    parallel_for(count, 8, [&](std::int64_t i) {
      for (std::int64_t j = i + 1; j < columns; ++j)
        sums[i] += std::exp(2 * double{tile.data<float>()[i * columns + j]});
    });
    sum += std::accumulate(sums.begin(), sums.end(), 0.0);
  }
  return std::log(sum / (static_cast<double>(rows) * (rows - 1.0) / 2));
}

}  // namespace

double EmbeddingDiagnostics::density() const {
  constexpr double kRounding = 1e-12;  // what is left of the distance of equal means
  return inter > kRounding ? intra / inter : kNothing;
}

EmbeddingSpread spread_of(const Tensor& embeddings) {
  check(embeddings.shape().rank() == 2 && embeddings.dtype() == DType::f32,
        "spread_of: expected (rows, features) f32, got ", embeddings);
  if (embeddings.numel() == 0) return {kNothing, kNothing};
  return spread_of_unit(unit_rows_in_double(spread_rows(embeddings, kFewRows).to(Device::cpu)),
                        kFewRows);
}

std::string collapse_in_words(const EmbeddingSpread& spread, std::int64_t dim) {
  constexpr double kLeastDeviation = 0.1;  // of the even spread's: the mean cosine is above 0.99
  constexpr double kLeastShare = 0.02;     // of the features
  const double least_rank = std::max(2.0, kLeastShare * static_cast<double>(dim));
  std::string what;
  if (spread.standard_deviation * std::sqrt(static_cast<double>(dim)) < kLeastDeviation)
    what = "all embeddings are nearly equal";
  else if (dim > 2 && spread.effective_rank < least_rank)
    what = fmt::format("embeddings use {:.1f} of {} directions", spread.effective_rank, dim);
  if (what.empty()) return what;
  return fmt::format(
      "the embedding has collapsed: {} (standard deviation {:.2g} per feature, {:.2g} when spread "
      "evenly). A lower --lr, a longer --lr-warmup or --warmup-head help most often",
      what, spread.standard_deviation, 1 / std::sqrt(static_cast<double>(dim)));
}

EmbeddingDiagnostics diagnose_embeddings(const Tensor& embeddings,
                                         std::span<const std::int32_t> labels) {
  check(embeddings.shape().rank() == 2 && embeddings.dtype() == DType::f32 &&
            embeddings.dim(0) == std::ssize(labels),
        "diagnose_embeddings: expected (", labels.size(), ", features) f32, got ", embeddings);
  EmbeddingDiagnostics result;
  const std::int64_t rows = embeddings.dim(0), dim = embeddings.dim(1);
  if (rows == 0 || dim == 0) return {{kNothing, kNothing}, kNothing, kNothing, kNothing, kNothing};
  const Tensor unit = unit_rows_in_double(embeddings.to(Device::cpu));
  add_class_distances(unit, labels, result);

  result.uniformity = uniformity(unit);
  static_cast<EmbeddingSpread&>(result) = spread_of_unit(unit, kMaxRows);
  return result;
}

}  // namespace proxent
