// top_k against a full sort, whole and in tiles.
#include "tensor/topk.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tensor/random.h"
#include "tests/devices.h"

TEST_SUITE("topk") {
  using namespace proxent;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();

  // Scores on a coarse grid, so that many are equal.
  Tensor coarse_scores(std::int64_t rows, std::int64_t cols, DType dtype) {
    Tensor x({rows, cols}, DType::f64);
    Philox random(7, 1);
    for (std::int64_t i = 0; i < x.numel(); ++i)
      x.data<double>()[i] = static_cast<double>(random.below(2 * cols / 3 + 1)) / 8 - 2;
    return x.to(dtype);
  }

  void check_against_sort(const Tensor& x, std::int64_t k, const TopK& found) {
    const auto scores = x.to_vector<double>(), values = found.values.to_vector<double>();
    const auto indices = found.indices.to_vector<std::int32_t>();
    for (std::int64_t r = 0; r < x.dim(0); ++r) {
      const double* row = scores.data() + r * x.dim(1);
      std::vector<std::int32_t> order(x.dim(1));
      std::iota(order.begin(), order.end(), 0);
      std::erase_if(order, [&](auto c) { return !(row[c] > -kInfinity); });
      std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return row[a] > row[b]; });
      for (std::int64_t i = 0; i < k; ++i) {
        const bool exists = i < std::ssize(order);
        REQUIRE(indices[r * k + i] == (exists ? order[i] : -1));
        REQUIRE(values[r * k + i] == (exists ? row[order[i]] : -kInfinity));
      }
    }
  }

  TEST_CASE("agrees with a stable sort, ties by lower column") {
    on_every_device([](Device device) {
      for (DType dtype : {DType::f32, DType::f64})
        for (std::int64_t cols : {0, 1, 31, 32, 67, 2500})
          for (std::int64_t k : {1, 7, 100, 1000}) {
            INFO(device, " ", dtype, ", ", cols, " columns, k = ", k);
            const Tensor x = coarse_scores(k < 100 ? 19 : 3, cols, dtype);
            check_against_sort(x, k, top_k(x.to(device), k));
          }
    });
  }

  TEST_CASE("a k of thousands, and scores that rise, so that all of them enter") {
    on_every_device([](Device device) {
      for (DType dtype : {DType::f32, DType::f64})
        for (std::int64_t k : {1, 300, 3000}) {
          INFO(device, " ", dtype, ", k = ", k);
          const std::int64_t cols = 7000;
          Tensor x({1, cols}, DType::f64);
          for (std::int64_t i = 0; i < cols; ++i) x.data<double>()[i] = static_cast<double>(i / 3);
          x = x.to(dtype);
          check_against_sort(x, k, top_k(x.to(device), k));
        }
    });
  }

  TEST_CASE("any order of tiles gives the same") {
    const std::int64_t rows = 5, cols = 1200, k = 50;
    const Tensor x = coarse_scores(rows, cols, DType::f32);
    const auto tile = [&](std::int64_t first, std::int64_t count) {
      Tensor t({rows, count}, DType::f32);
      for (std::int64_t r = 0; r < rows; ++r)
        std::copy_n(x.data<float>() + r * cols + first, count, t.data<float>() + r * count);
      return t;
    };
    on_every_device([&](Device device) {
      for (bool is_reversed : {false, true}) {
        INFO(device, is_reversed ? ", from the last" : ", from the first");
        TopK best = empty_top_k(rows, k, DType::f32, device);
        for (int i = 0; i < 4; ++i) {
          const std::int64_t first = 300 * (is_reversed ? 3 - i : i);
          top_k_update(best, tile(first, 300).to(device), first);
        }
        check_against_sort(x, k, best);
      }
    });
  }

  TEST_CASE("masked scores, NaN and zeros of both signs") {
    const float inf = std::numeric_limits<float>::infinity();
    const Tensor x = Tensor::from<float>({1, 6}, {-0.0f, -inf, 0.0f, std::nanf(""), inf, -1.0f});
    on_every_device([&](Device device) {
      for (DType dtype : {DType::f32, DType::f64}) {
        INFO(device, " ", dtype);
        const TopK best = top_k(x.to(dtype).to(device), 6);
        CHECK(best.indices.to_vector<std::int32_t>() ==
              std::vector<std::int32_t>{4, 0, 2, 5, -1, -1});
        CHECK(best.values.to_vector<float>() == std::vector<float>{inf, 0, 0, -1, -inf, -inf});
      }
    });
  }

  TEST_CASE("bad calls are refused") {
    CHECK_THROWS_WITH_AS(top_k(Tensor({2, 3}, DType::f32), 0),
                         doctest::Contains("k must be at least 1, got 0"), Error);
    TopK best = empty_top_k(2, 1, DType::f32);
    CHECK_THROWS_WITH_AS(top_k_update(best, Tensor({3, 4}, DType::f32), 0),
                         doctest::Contains("scores are (3, 4) f32, the best so far (2, 1) f32"),
                         Error);
  }
}
