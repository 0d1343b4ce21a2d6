// Query expansion, mirrored means and k-reciprocal re-ranking against their definitions on matrices
// of all pairs.
#include "train/reranking.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "tensor/random.h"
#include "tests/devices.h"
#include "tests/random_rows.h"
#include "train/query_expansion.h"

namespace proxent {
namespace {

using Rows = std::vector<std::int64_t>;
using Labels = std::vector<std::int32_t>;
using Vector = std::vector<double>;

Rows some_rows(std::int64_t rows, double share, std::uint64_t seed) {
  Philox random(seed, 3);
  Rows chosen;
  for (std::int64_t r = 0; r < rows; ++r)
    if (random.uniform() < share) chosen.push_back(r);
  return chosen;
}

std::vector<Vector> unit(const Tensor& x) {
  std::vector<Vector> rows;
  for (std::int64_t r = 0; r < x.dim(0); ++r) {
    const float* row = x.data<float>() + r * x.dim(1);
    Vector v(row, row + x.dim(1));
    const double length = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
    for (double& e : v) e /= length;
    rows.push_back(v);
  }
  return rows;
}
double cosine(const Vector& a, const Vector& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

bool may_meet(std::int64_t a, std::int64_t b, const RetrievalOptions& options) {
  return a != b && (options.groups.empty() || options.groups[a] < 0 ||
                    options.groups[a] != options.groups[b]);
}
Rows all_rows(std::int64_t n) {
  Rows all(n);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Rows that may be met, the nearest first.
Rows ranking(const std::vector<Vector>& x, std::int64_t query, const Rows& gallery,
             const RetrievalOptions& options) {
  Rows found;
  for (const std::int64_t g : gallery)
    if (may_meet(query, g, options)) found.push_back(g);
  std::ranges::stable_sort(found, std::greater<>(),
                           [&](std::int64_t g) { return cosine(x[query], x[g]); });
  return found;
}

// The paper's steps on dense matrices.
class DenseReranking {
 public:
  DenseReranking(const Tensor& embeddings, const RetrievalOptions& options,
                 const KReciprocalOptions& k)
      : x_(unit(embeddings)), options_(options), k_(k), n_(embeddings.dim(0)) {
    std::set<std::int64_t> either;
    for (const auto& list : {options.queries, options.gallery})
      for (const std::int64_t row : list.value_or(all_rows(n_))) either.insert(row);
    joint_.assign(either.begin(), either.end());
    std::vector<Vector> v(n_, Vector(n_));
    for (const std::int64_t p : joint_) {
      double sum = 0;
      for (const std::int64_t g : expanded(p)) sum += v[p][g] = std::exp(cosine(x_[p], x_[g]) - 1);
      for (double& e : v[p]) e /= sum;
    }
    mean_.assign(n_, Vector(n_));
    for (const std::int64_t p : joint_) {
      const Rows members = nearest(p, k.k2 - 1);
      for (const std::int64_t m : members)
        for (std::int64_t g = 0; g < n_; ++g) mean_[p][g] += v[m][g] / double(members.size());
    }
  }

  Rows order(std::int64_t query) const {
    Rows all = ranking(x_, query, options_.gallery.value_or(all_rows(n_)), options_);
    all.resize(std::min<std::size_t>(all.size(), k_.candidates));
    std::ranges::stable_sort(all, {}, [&](std::int64_t g) { return distance(query, g); });
    return all;
  }
  double distance(std::int64_t q, std::int64_t g) const {
    double least = 0, most = 0;
    for (std::int64_t i = 0; i < n_; ++i) {
      least += std::min(mean_[q][i], mean_[g][i]);
      most += std::max(mean_[q][i], mean_[g][i]);
    }
    return (1 - k_.lambda) * (1 - least / most) + k_.lambda * (1 - cosine(x_[q], x_[g]));
  }

 private:
  Rows nearest(std::int64_t p, std::int64_t k) const {
    Rows found = ranking(x_, p, joint_, options_);
    found.insert(found.begin(), p);
    found.resize(std::min<std::size_t>(found.size(), k + 1));
    return found;
  }
  std::set<std::int64_t> reciprocal(std::int64_t p, std::int64_t k) const {
    std::set<std::int64_t> mutual;
    for (const std::int64_t g : nearest(p, k)) {
      const Rows back = nearest(g, k);
      if (std::ranges::find(back, p) != back.end()) mutual.insert(g);
    }
    return mutual;
  }
  std::set<std::int64_t> expanded(std::int64_t p) const {
    const auto core = reciprocal(p, k_.k1);
    auto all = core;
    for (const std::int64_t q : core) {
      const auto its = reciprocal(q, std::lround(double(k_.k1) / 2));
      std::vector<std::int64_t> shared;
      std::ranges::set_intersection(its, core, std::back_inserter(shared));
      if (double(shared.size()) > 2. / 3 * double(its.size())) all.insert(its.begin(), its.end());
    }
    return all;
  }

  const std::vector<Vector> x_;
  const RetrievalOptions& options_;
  const KReciprocalOptions& k_;
  const std::int64_t n_;
  Rows joint_;
  std::vector<Vector> mean_;
};

}  // namespace

TEST_SUITE("reranking") {
  TEST_CASE("k-reciprocal re-ranking is the paper's on matrices of all pairs") {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      CAPTURE(seed);
      const std::int64_t rows = 45;
      const Tensor x = cloud(rows, 4, seed);
      const Labels labels = random_labels(rows, 5, seed);
      RetrievalOptions options;
      if (seed % 2) {
        options.queries = some_rows(rows, 0.4, seed);
        options.gallery = some_rows(rows, 0.7, seed + 20);
      }
      if (seed % 3 == 2) options.groups = random_labels(rows, 12, seed + 40);
      const KReciprocalOptions k{.k1 = 3 + static_cast<std::int64_t>(seed),
                                 .k2 = 1 + static_cast<std::int64_t>(seed) % 4,
                                 .lambda = 0.3,
                                 .candidates = seed % 4 == 3 ? 100 : 12};
      const DenseReranking dense(x, options, k);
      const auto found = reranked_neighbours(x, labels, options, k);
      const Rows queries = options.queries.value_or(all_rows(rows));
      REQUIRE(found.size() == queries.size());
      for (std::size_t q = 0; q < queries.size(); ++q) {
        const Rows expected = dense.order(queries[q]);
        REQUIRE(found[q].size() == expected.size());
        for (std::size_t i = 0; i < expected.size(); ++i) {
          CHECK(found[q][i].is_match == (labels[found[q][i].row] == labels[queries[q]]));
          // Encodings are float32: rows as near as that may change places.
          const double gap =
              dense.distance(queries[q], found[q][i].row) - dense.distance(queries[q], expected[i]);
          CHECK(std::abs(gap) < 1e-6);
        }
      }
    }
  }

  TEST_CASE("metrics are of the re-ranked candidates, with what lies behind them") {
    const std::int64_t rows = 50;
    const Tensor x = cloud(rows, 3, 5);
    const Labels labels = random_labels(rows, 4, 5);
    const KReciprocalOptions k{.k1 = 6, .k2 = 3, .candidates = 15};
    const RetrievalOptions options{.recall_at = {1, 2, 20}, .wants_map = true};
    const auto reranked = reranked_neighbours(x, labels, options, k);
    const RetrievalResult found = evaluate_retrieval(x, labels, with_reranking(options, reranked));
    double recall = 0, map = 0;
    for (std::int64_t q = 0; q < rows; ++q) {
      Rows order;
      for (const Neighbour& neighbour : reranked[q]) order.push_back(neighbour.row);
      const Rows plain = ranking(unit(x), q, all_rows(rows), options);
      order.insert(order.end(), plain.begin() + 15, plain.end());
      double matches = 0, sum = 0;
      for (std::size_t i = 0; i < order.size(); ++i)
        if (labels[order[i]] == labels[q]) sum += ++matches / double(i + 1);
      map += sum / matches / double(rows);
      recall += (labels[order[0]] == labels[q]) / double(rows);
    }
    CHECK(found.recall(1) == doctest::Approx(recall).epsilon(1e-12));
    CHECK(*found.map == doctest::Approx(map).epsilon(1e-12));
    CHECK(*found.map != *evaluate_retrieval(x, labels, options).map);
    // All weight on the original distance changes nothing.
    const auto same = reranked_neighbours(x, labels, options, {.k1 = 6, .k2 = 3, .lambda = 1});
    const RetrievalResult plain = evaluate_retrieval(x, labels, options);
    const RetrievalResult unmoved = evaluate_retrieval(x, labels, with_reranking(options, same));
    CHECK(unmoved.recall(1) == plain.recall(1));
    CHECK(*unmoved.map == doctest::Approx(*plain.map).epsilon(1e-12));
  }

  TEST_CASE("expanded queries are their definition's, others stay") {
    const std::int64_t rows = 30, dim = 5;
    const Tensor x = cloud(rows, dim, 6);
    const Labels labels = random_labels(rows, 4, 6);
    RetrievalOptions options{.queries = some_rows(rows, 0.5, 1),
                             .gallery = some_rows(rows, 0.7, 2)};
    options.groups = random_labels(rows, 8, 9);
    const auto u = unit(x);
    for (const double alpha : {0., 1., 2.5}) {
      const auto found = expanded_queries(x, labels, options, {.neighbours = 4, .alpha = alpha})
                             .to_vector<float>();
      for (std::int64_t r = 0; r < rows; ++r) {
        Vector expected = u[r];
        if (std::ranges::find(*options.queries, r) != options.queries->end()) {
          const Rows near = ranking(u, r, *options.gallery, options);
          for (std::size_t i = 0; i < std::min<std::size_t>(4, near.size()); ++i)
            for (std::int64_t d = 0; d < dim; ++d)
              expected[d] +=
                  std::pow(std::max(0.0, cosine(u[r], u[near[i]])), alpha) * u[near[i]][d];
          const double length = std::sqrt(cosine(expected, expected));
          for (double& e : expected) e /= length;
        }
        for (std::int64_t d = 0; d < dim; ++d)
          CHECK(std::abs(found[r * dim + d] - expected[d]) < 1e-6);  // float32
      }
    }
    options.distance = Distance::euclidean;
    CHECK_THROWS_AS(expanded_queries(x, labels, options, {}), UsageError);
    CHECK_THROWS_AS(reranked_neighbours(x, labels, options, {}), UsageError);
  }

  TEST_CASE("mean directions forget lengths") {
    const Tensor a = Tensor::from<float>({3, 2}, {3, 0, 0, 5, 1, 0});
    const Tensor b = Tensor::from<float>({3, 2}, {0, 0.1f, 0, 7, -2, 0});
    const auto mean = mean_directions(a, b).to_vector<float>();
    const float half = std::sqrt(0.5f);
    const std::vector<float> expected = {half, half, 0, 1, 0, 0};
    for (std::size_t i = 0; i < 6; ++i) CHECK(std::abs(mean[i] - expected[i]) < 1e-6f);
    CHECK_THROWS_AS(mean_directions(a, Tensor({2, 2}, DType::f32)), Error);
  }

  TEST_CASE("the same on every device") {
    const Tensor x = cloud(60, 6, 8);
    const Labels labels = random_labels(60, 5, 8);
    const KReciprocalOptions k{.k1 = 7, .k2 = 3, .candidates = 20};
    const auto here = reranked_neighbours(x, labels, {}, k);
    const auto queries = expanded_queries(x, labels, {}, {}).to_vector<float>();
    on_every_device([&](Device device) {
      INFO(device);
      const auto there = reranked_neighbours(x.to(device), labels, {}, k);
      for (std::size_t q = 0; q < here.size(); ++q)
        for (std::size_t i = 0; i < here[q].size(); ++i) CHECK(there[q][i].row == here[q][i].row);
      // A device that fuses multiply and add rounds otherwise than one that does not.
      const auto same = expanded_queries(x.to(device), labels, {}, {}).to_vector<float>();
      REQUIRE(same.size() == queries.size());
      for (std::size_t i = 0; i < same.size(); ++i) CHECK(std::abs(same[i] - queries[i]) < 1e-5f);
    });
  }

  TEST_CASE("options are read from their texts") {
    CHECK(query_expansion_from_text("7").neighbours == 7);
    CHECK(query_expansion_from_text("7").alpha == 3);
    CHECK(query_expansion_from_text("7,0.5").alpha == 0.5);
    for (const char* text : {"", "0", "3,-1", "3,1,2", "3,x"})
      CHECK_THROWS_AS(query_expansion_from_text(text), UsageError);
    const KReciprocalOptions k = k_reciprocal_from_text("9,4,0.5,50");
    CHECK(k.k1 == 9);
    CHECK(k.k2 == 4);
    CHECK(k.lambda == 0.5);
    CHECK(k.candidates == 50);
    CHECK(k_reciprocal_from_text("9,4,0.5").candidates == 200);
    for (const char* text : {"", "9,4", "9,4,2", "9,11,0.3", "0,1,0.3", "9,4,0.3,0", "9,4,0.3,5,6"})
      CHECK_THROWS_AS(k_reciprocal_from_text(text), UsageError);
  }
}
}  // namespace proxent
