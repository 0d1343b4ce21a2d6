#include "train/reranking.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <utility>

#include "data/parse_number.h"
#include "tensor/parallel.h"
#include "train/pair_tiles.h"
#include "train/text.h"

namespace proxent {
namespace {

using Rows = std::vector<std::int64_t>;

// Entries that are not zero, by ascending row.
using SparseVector = std::vector<std::pair<std::int32_t, float>>;

// 1 - sum min / sum max of vectors that sum to one each.
double jaccard_distance(const SparseVector& a, const SparseVector& b) {
  double least = 0;
  for (auto i = a.begin(), j = b.begin(); i != a.end() && j != b.end();) {
    if (i->first == j->first)
      least += std::min((i++)->second, (j++)->second);
    else
      ++(i->first < j->first ? i : j);
  }
  return 1 - least / (2 - least);
}

class KReciprocal {
 public:
  KReciprocal(const Tensor& embeddings, std::span<const std::int32_t> labels,
              const RetrievalOptions& options, const KReciprocalOptions& reranking)
      : options_(reranking),
        unit_(unit_rows(embeddings).to(Device::cpu)),
        nearest_(embeddings.dim(0)),
        features_(embeddings.dim(0)) {
    const Rows rows = rows_of_either(embeddings.dim(0), options);
    RetrievalOptions among_all = options;
    among_all.gallery = rows;
    const auto found = nearest_neighbours(embeddings, labels, rows, options_.k1, among_all);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      nearest_[rows[i]].push_back(static_cast<std::int32_t>(rows[i]));
      for (const Neighbour& neighbour : found[i])
        nearest_[rows[i]].push_back(static_cast<std::int32_t>(neighbour.row));
    }
    std::vector<SparseVector> own(embeddings.dim(0));
    parallel_for(std::ssize(rows), 16, [&](std::int64_t i) { own[rows[i]] = feature(rows[i]); });
    parallel_for(std::ssize(rows), 16,
                 [&](std::int64_t i) { features_[rows[i]] = mean_feature(own, rows[i]); });
  }

  void reorder(std::int64_t query, std::vector<Neighbour>& candidates) const {
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const std::int64_t row = candidates[i].row;
      const double jaccard = jaccard_distance(features_[query], features_[row]);
      order.emplace_back((1 - options_.lambda) * jaccard + options_.lambda * distance(query, row),
                         i);
    }
    std::sort(order.begin(), order.end());
    std::vector<Neighbour> reordered;
    for (const auto& [distance, i] : order) reordered.push_back(candidates[i]);
    candidates = std::move(reordered);
  }

 private:
  static Rows rows_of_either(std::int64_t rows, const RetrievalOptions& options) {
    std::set<std::int64_t> either;
    for (const auto* list : {&options.queries, &options.gallery})
      for (const std::int64_t row : listed_rows(*list, rows, "any")) either.insert(row);
    return {either.begin(), either.end()};
  }

  double distance(std::int64_t a, std::int64_t b) const {
    const float *x = unit_.data<float>() + a * unit_.dim(1),
                *y = unit_.data<float>() + b * unit_.dim(1);
    return 1 - std::inner_product(x, x + unit_.dim(1), y, 0.0);
  }

  // N(row, k), the row itself first.
  std::span<const std::int32_t> nearest(std::int64_t row, std::int64_t k) const {
    const auto& all = nearest_[row];
    return {all.data(), static_cast<std::size_t>(std::min(k + 1, std::ssize(all)))};
  }
  std::set<std::int32_t> reciprocal(std::int64_t row, std::int64_t k) const {
    std::set<std::int32_t> mutual;
    for (const std::int32_t other : nearest(row, k)) {
      const auto back = nearest(other, k);
      if (std::ranges::find(back, row) != back.end()) mutual.insert(other);
    }
    return mutual;
  }
  std::set<std::int32_t> expanded(std::int64_t row) const {
    const std::set<std::int32_t> core = reciprocal(row, options_.k1);
    std::set<std::int32_t> all = core;
    for (const std::int32_t other : core) {
      const std::set<std::int32_t> its = reciprocal(other, (options_.k1 + 1) / 2);
      const auto shared = std::ranges::count_if(its, [&](auto r) { return core.contains(r); });
      if (3 * shared > 2 * std::ssize(its)) all.insert(its.begin(), its.end());
    }
    return all;
  }

  SparseVector feature(std::int64_t row) const {
    SparseVector feature;
    double sum = 0;
    for (const std::int32_t other : expanded(row)) {
      const double weight = std::exp(-distance(row, other));
      feature.emplace_back(other, static_cast<float>(weight));
      sum += weight;
    }
    for (auto& [other, weight] : feature) weight = static_cast<float>(weight / sum);
    return feature;
  }

  SparseVector mean_feature(const std::vector<SparseVector>& own, std::int64_t row) const {
    const auto members = nearest(row, options_.k2 - 1);
    std::map<std::int32_t, double> sum;
    for (const std::int32_t member : members)
      for (const auto& [other, weight] : own[member]) sum[other] += weight;
    SparseVector mean;
    for (const auto& [other, weight] : sum)
      mean.emplace_back(other, static_cast<float>(weight / static_cast<double>(members.size())));
    return mean;
  }

  const KReciprocalOptions& options_;
  const Tensor unit_;
  std::vector<std::vector<std::int32_t>> nearest_;  // of each row: itself, then the k1 nearest
  std::vector<SparseVector> features_;              // V'
};

void check_options(const KReciprocalOptions& options) {
  check<UsageError>(options.k1 >= 1 && options.k2 >= 1 && options.k2 <= options.k1 + 1 &&
                        options.lambda >= 0 && options.lambda <= 1 && options.candidates >= 1,
                    "re-ranking: expected K1 >= 1, K2 from 1 to K1 + 1, LAMBDA from 0 to 1 and a "
                    "candidate at least, got ",
                    options.k1, ",", options.k2, ",", options.lambda, ",", options.candidates);
}

}  // namespace

KReciprocalOptions k_reciprocal_from_text(std::string_view text) {
  KReciprocalOptions options;
  const std::vector<std::string> parts = split(text, ',');
  const auto read = [&](std::size_t i, auto& value) {
    const auto number = parse_number<std::remove_reference_t<decltype(value)>>(parts[i]);
    value = number.value_or(value);
    return number.has_value();
  };
  const bool is_right = (parts.size() == 3 || parts.size() == 4) && read(0, options.k1) &&
                        read(1, options.k2) && read(2, options.lambda) &&
                        (parts.size() == 3 || read(3, options.candidates));
  check<UsageError>(is_right, "re-ranking: expected K1,K2,LAMBDA and perhaps the number of ",
                    "candidates as 20,6,0.3,200, got '", text, "'");
  check_options(options);
  return options;
}

std::vector<std::vector<Neighbour>> reranked_neighbours(const Tensor& embeddings,
                                                        std::span<const std::int32_t> labels,
                                                        const RetrievalOptions& options,
                                                        const KReciprocalOptions& reranking) {
  check<UsageError>(options.distance == Distance::cosine,
                    "re-ranking mixes with the cosine distance; leave out the other distance");
  check_options(reranking);
  const Rows queries = listed_rows(options.queries, embeddings.dim(0), "query");
  auto candidates = nearest_neighbours(embeddings, labels, queries, reranking.candidates, options);
  const KReciprocal encoding(embeddings, labels, options, reranking);
  parallel_for(std::ssize(queries), 16,
               [&](std::int64_t q) { encoding.reorder(queries[q], candidates[q]); });
  return candidates;
}

RetrievalOptions with_reranking(RetrievalOptions options,
                                std::vector<std::vector<Neighbour>> reranked) {
  const auto shared =
      std::make_shared<const std::vector<std::vector<Neighbour>>>(std::move(reranked));
  options.change_ranks = [shared](std::int64_t place, std::vector<std::int32_t>& ranks) {
    const std::vector<Neighbour>& candidates = shared->at(place);
    std::size_t match = 0;  // as many are among the candidates as before
    for (std::size_t i = 0; i < candidates.size(); ++i)
      if (candidates[i].is_match) ranks.at(match++) = static_cast<std::int32_t>(i);
  };
  return options;
}

}  // namespace proxent
