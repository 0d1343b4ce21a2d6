// Eigenvalues of matrices whose spectrum is known.
#include "train/eigenvalues.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "tensor/check.h"
#include "tensor/random.h"

TEST_SUITE("eigenvalues") {
  using namespace proxent;

  TEST_CASE("matrices with a formula for theirs") {
    CHECK(symmetric_eigenvalues({}, 0).empty());
    CHECK(symmetric_eigenvalues({-3}, 1) == std::vector<double>{-3});
    CHECK(symmetric_eigenvalues({5, 0, 0, 0, -1, 0, 0, 0, 2}, 3) == std::vector<double>{-1, 2, 5});
    CHECK(symmetric_eigenvalues(std::vector<double>(16, 0), 4) == std::vector<double>(4, 0));

    const std::int64_t n = 40;  // the second difference: 2 - 2 cos(k pi / (n + 1))
    std::vector<double> laplace(n * n);
    for (std::int64_t i = 0; i < n; ++i) {
      laplace[i * n + i] = 2;
      if (i > 0) laplace[i * n + i - 1] = laplace[(i - 1) * n + i] = -1;
    }
    const auto found = symmetric_eigenvalues(laplace, n);
    for (std::int64_t k = 1; k <= n; ++k)
      CHECK(std::abs(found[k - 1] - (2 - 2 * std::cos(double(k) * std::numbers::pi / (n + 1)))) <
            1e-13);
  }

  TEST_CASE("a full matrix with a chosen spectrum") {
    // Reflections of diag(0, 0, 1e-6, 1, ..., n - 4, 1e3): repeated, tiny and large together.
    const std::int64_t n = 60;
    std::vector<double> expected(n), a(n * n);
    for (std::int64_t i = 3; i < n; ++i) expected[i] = double(i - 3);
    expected[2] = 1e-6;
    expected[n - 1] = 1e3;
    for (std::int64_t i = 0; i < n; ++i) a[i * n + i] = expected[(i * 7) % n];
    Philox random(3, 1);
    for (int turn = 0; turn < 5; ++turn) {
      std::vector<double> v(n), av(n);
      for (double& x : v) x = random.normal();
      const double vv = std::inner_product(v.begin(), v.end(), v.begin(), 0.0);
      for (std::int64_t i = 0; i < n; ++i)
        av[i] = std::inner_product(v.begin(), v.end(), &a[i * n], 0.0);
      const double vav = std::inner_product(v.begin(), v.end(), av.begin(), 0.0);
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j)
          a[i * n + j] +=
              -2 / vv * (v[i] * av[j] + av[i] * v[j]) + 4 * vav / (vv * vv) * v[i] * v[j];
    }
    std::sort(expected.begin(), expected.end());
    const auto found = symmetric_eigenvalues(a, n);
    for (std::int64_t i = 0; i < n; ++i)
      CHECK(std::abs(found[i] - expected[i]) < 1e-11);  // about n roundings at 1e3
    CHECK_THROWS_WITH_AS(symmetric_eigenvalues({1, 2, 3}, 2),
                         doctest::Contains("expected 2 x 2 entries, got 3"), Error);
    CHECK_THROWS_WITH_AS(symmetric_eigenvalues({INFINITY}, 1), doctest::Contains("an entry is inf"),
                         Error);
  }
}
