// Diagnostics of embeddings against closed forms and plain pair loops.
#include "train/diagnostics.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "tensor/random.h"
#include "train/evaluation_report.h"

TEST_SUITE("diagnostics") {
  using namespace proxent;

  TEST_CASE("distances equal the loops over pairs of their definition") {
    const std::int64_t rows = 50, dim = 6;
    Tensor x({rows, dim}, DType::f32);
    fill_normal(x, Philox(1, 1), 0.4, 1);
    std::vector<std::int32_t> labels(rows);
    for (std::int64_t i = 0; i < rows; ++i) labels[i] = static_cast<std::int32_t>(i % 7 * i % 5);
    labels[49] = 77;  // a class of one: counts for inter only
    const auto values = x.to_vector<double>();
    const auto unit = [&](std::vector<double> v) {
      const double length = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
      for (double& e : v) e /= length;
      return v;
    };
    const auto row = [&](std::int64_t i) {
      return unit({values.begin() + i * dim, values.begin() + (i + 1) * dim});
    };
    const auto distance = [](const std::vector<double>& a, const std::vector<double>& b) {
      return 1 - std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
    };
    double intra = 0, inter = 0;
    int with_pairs = 0, pairs = 0;
    std::vector<std::vector<double>> means;
    for (const std::int32_t label : {0, 1, 2, 3, 4, 77}) {
      std::vector<double> mean(dim);
      double sum = 0;
      int count = 0;
      for (std::int64_t i = 0; i < rows; ++i) {
        if (labels[i] != label) continue;
        for (std::int64_t d = 0; d < dim; ++d) mean[d] += row(i)[d];
        for (std::int64_t j = 0; j < rows; ++j)
          if (j != i && labels[j] == label) sum += distance(row(i), row(j)), ++count;
      }
      means.push_back(unit(mean));
      if (count > 0) intra += sum / count, ++with_pairs;
    }
    for (std::size_t a = 0; a < means.size(); ++a)
      for (std::size_t b = 0; b < a; ++b) inter += distance(means[a], means[b]), ++pairs;
    const EmbeddingDiagnostics found = diagnose_embeddings(x, labels);
    CHECK(found.intra == doctest::Approx(intra / with_pairs).epsilon(1e-12));
    CHECK(found.inter == doctest::Approx(inter / pairs).epsilon(1e-12));
    double alignment = 0, potential = 0, positive = 0;
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < i; ++j) {
        const double squares = 2 * distance(row(i), row(j));
        potential += std::exp(-2 * squares);
        if (labels[i] == labels[j]) alignment += squares, ++positive;
      }
    CHECK(found.alignment == doctest::Approx(alignment / positive).epsilon(1e-12));
    // Similarities are float32.
    CHECK(std::abs(found.uniformity - std::log(potential / (double(rows) * (rows - 1) / 2))) <
          1e-6);
    CHECK(found.density() == doctest::Approx(intra / with_pairs / (inter / pairs)).epsilon(1e-12));
  }

  TEST_CASE("effective rank counts the directions in use") {
    // Plus and minus each of r axes, at any length: r equal singular values, mean zero.
    const std::int64_t dim = 9;
    for (const std::int64_t r : {1, 2, 5, 9}) {
      std::vector<float> x(2 * r * dim);
      for (std::int64_t i = 0; i < r; ++i) {
        x[2 * i * dim + i] = 3;
        x[(2 * i + 1) * dim + i] = -0.5f;
      }
      const auto found = diagnose_embeddings(Tensor::from<float>({2 * r, dim}, x),
                                             std::vector<std::int32_t>(2 * r, 1));
      CHECK(found.effective_rank == doctest::Approx(double(r)).epsilon(1e-9));
      CHECK(found.standard_deviation == doctest::Approx(1 / std::sqrt(double(dim))).epsilon(1e-12));
      const auto in_use = found.spectrum.begin() + r;
      for (auto share = found.spectrum.begin(); share != found.spectrum.end(); ++share)
        CHECK(*share ==
              (share < in_use ? doctest::Approx(1 / double(r)).epsilon(1e-9) : doctest::Approx(0)));
    }
    Tensor cloud({4000, 16}, DType::f32);  // directions spread evenly use all 16
    fill_normal(cloud, Philox(2, 1), 0, 1);
    const auto even = diagnose_embeddings(cloud, std::vector<std::int32_t>(4000, 1));
    CHECK(even.effective_rank > 15.9);
    CHECK(even.effective_rank <= 16 + 1e-9);
  }

  TEST_CASE("classes of equal means have no density") {
    const auto found = diagnose_embeddings(Tensor::full({4, 3}, DType::f32, 0.3),
                                           std::vector<std::int32_t>{0, 0, 1, 1});
    CHECK(std::abs(found.inter) < 1e-12);
    CHECK(std::isnan(found.density()));
  }

  TEST_CASE("collapse and emptiness are told apart from numbers") {
    const auto collapsed = diagnose_embeddings(Tensor::full({30, 8}, DType::f32, 0.7),
                                               std::vector<std::int32_t>(30, 1));
    CHECK(collapsed.effective_rank < 8.01);
    CHECK(collapsed.standard_deviation < 1e-12);
    CHECK(std::abs(collapsed.intra) < 1e-12);
    CHECK(std::isnan(collapsed.inter));  // one class
    const auto lone = diagnose_embeddings(Tensor::from<float>({2, 2}, {1, 0, 0, 1}),
                                          std::vector<std::int32_t>{1, 2});
    CHECK(std::isnan(lone.intra));  // no class has a pair
    CHECK(lone.inter == doctest::Approx(1));
    CHECK(std::isnan(diagnose_embeddings(Tensor({0, 4}, DType::f32), {}).effective_rank));
    const EmbeddingSpread equal = spread_of(Tensor::full({3, 4}, DType::f32, 1));
    CHECK(std::isnan(equal.effective_rank));
    CHECK(equal.spectrum.empty());
    Json record;
    add_spread(record, equal);
    CHECK(record["standard_deviation"].number() == 0);
    CHECK(record["effective_rank"].is_null());
    CHECK(record["reasons"]["effective_rank"].plain() == "all embeddings are equal");
    CHECK(equal.standard_deviation == 0);
    CHECK_THROWS_WITH_AS(diagnose_embeddings(Tensor({3, 4}, DType::f32), std::vector{1, 2}),
                         doctest::Contains("expected (2, features) f32, got (3, 4) f32"), Error);
  }
}
