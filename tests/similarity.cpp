// Similarities keep their bits wherever a pair of rows stands.
#include "tensor/similarity.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tensor/random.h"
#include "tests/devices.h"

TEST_SUITE("similarity") {
  using namespace proxent;

  Tensor normal(Shape shape, DType dtype, std::uint64_t stream, Device device = Device::cpu) {
    Tensor x(shape, dtype);
    fill_normal(x, Philox(7, stream), 0, 1);
    return x.to(device);
  }

  // test(device, dtype) everywhere.
  template <class Test>
  void on_every_device_and_dtype(const Test& test) {
    on_every_device([&](Device device) {
      for (const DType dtype : {DType::f32, DType::f64}) {
        INFO(device, " ", dtype);
        test(device, dtype);
      }
    });
  }

  TEST_CASE("equal the sums in double") {
    on_every_device_and_dtype([](Device device, DType dtype) {
      for (const auto& [rows, columns, depth] :
           {std::tuple{1, 1, 1}, {3, 5, 0}, {0, 4, 3}, {4, 0, 3}, {9, 50, 7}, {70, 132, 64}}) {
        INFO(rows, " x ", columns, " x ", depth);
        const double unit = dtype == DType::f32 ? 0x1p-24 : 0x1p-53;
        const Tensor q = normal({rows, depth}, dtype, 1, device);
        const Tensor g = normal({columns, depth}, dtype, 2, device);
        const auto a = q.to_vector<double>(), b = g.to_vector<double>();
        for (const Similarity kind : {Similarity::dot, Similarity::euclidean}) {
          const auto y = similarities(q, g, kind).to_vector<double>();
          REQUIRE(std::ssize(y) == rows * columns);
          bool is_close = true;
          for (int i = 0; i < rows; ++i)
            for (int j = 0; j < columns; ++j) {
              double expected = 0, size = 0;
              for (int d = 0; d < depth; ++d) {
                const double u = a[i * depth + d], v = b[j * depth + d];
                const double term = kind == Similarity::dot ? u * v : -(u - v) * (u - v);
                expected += term, size += std::abs(term);
              }
              // At most three roundings per term: difference, product, sum.
              is_close &= std::abs(y[i * columns + j] - expected) <= 3 * depth * unit * size;
            }
          CHECK(is_close);
        }
      }
    });
  }

  TEST_CASE("a pair has the same bits in every tile") {
    on_every_device_and_dtype([](Device device, DType dtype) {
      const std::int64_t rows = 37, columns = 131;
      for (const std::int64_t depth : {3, 64, 513})
        for (const Similarity kind : {Similarity::dot, Similarity::euclidean}) {
          INFO(depth);
          const Tensor q = normal({rows, depth}, dtype, 1, device);
          const Tensor g = normal({columns, depth}, dtype, 2, device);
          const auto whole = similarities(q, g, kind).to_vector<double>();
          for (const auto& [r, n] : {std::pair{0, 1}, {5, 2}, {13, 24}, {36, 1}})
            for (const auto& [c, m] : {std::pair{0, 1}, {7, 48}, {50, 81}, {130, 1}}) {
              const auto tile =
                  similarities(q.slice(r, n), g.slice(c, m), kind).to_vector<double>();
              bool is_same = true;
              for (int i = 0; i < n; ++i)
                for (int j = 0; j < m; ++j)
                  is_same &= tile[i * m + j] == whole[(r + i) * columns + c + j];
              CHECK(is_same);
            }
          const auto turned = similarities(g, q, kind).to_vector<double>();
          CHECK(turned[5 * rows + 11] == whole[11 * columns + 5]);
        }
    });
  }

#if defined(__FMA__) && (defined(__clang__) || !defined(PROXENT_SANITIZE_ADDRESS))
  // Where the CPU fuses multiply and add, too; under sanitizers GCC does not.
  TEST_CASE("every device gives the same bits") {
    on_every_device_and_dtype([](Device device, DType dtype) {
      for (const Similarity kind : {Similarity::dot, Similarity::euclidean}) {
        const Tensor q = normal({33, 130}, dtype, 1), g = normal({140, 130}, dtype, 2);
        CHECK(similarities(q.to(device), g.to(device), kind).to_vector<double>() ==
              similarities(q, g, kind).to_vector<double>());
      }
    });
  }
#endif

  TEST_CASE("unit rows are as long as one, and the same on every device") {
    for (const std::int64_t dim : {1, 3, 32, 33, 100, 300}) {
      INFO(dim);
      Tensor x = normal({9, dim}, DType::f32, 3);
      std::fill_n(x.data<float>() + 2 * dim, dim, 0.f);
      std::fill_n(x.data<float>() + 3 * dim, dim, 1e-30f);
      std::fill_n(x.data<float>() + 4 * dim, dim, -3e38f);
      const Tensor index = Tensor::from<std::int32_t>({6}, {8, 2, 0, 3, 4, 8});
      const auto expected = unit_rows(x, index).to_vector<float>();
      const auto from = x.to_vector<double>();
      for (std::int64_t n = 0; n < 6; ++n) {
        const double* row = from.data() + index.data<std::int32_t>()[n] * dim;
        double length = 0;
        for (std::int64_t i = 0; i < dim; ++i) length = std::hypot(length, row[i]);
        for (std::int64_t i = 0; i < dim; ++i)
          CHECK(expected[n * dim + i] ==
                doctest::Approx(length > 0 ? row[i] / length : 0).epsilon(1e-7));
      }
      on_every_device([&](Device device) {
        CHECK(unit_rows(x.to(device), index.to(device)).to_vector<float>() == expected);
      });
    }
    CHECK(unit_rows(Tensor({2, 0}, DType::f32), Tensor::from<std::int32_t>({1}, {1})).numel() == 0);
  }

  TEST_CASE("refuses what does not fit") {
    CHECK_THROWS_WITH_AS(
        unit_rows(Tensor({2, 3}, DType::f32), Tensor::from<std::int32_t>({2}, {0, 2})),
        doctest::Contains("unit_rows: index 2 of row 1 is not in 0 .. 1"), Error);
    CHECK_THROWS_WITH_AS(
        unit_rows(Tensor({2, 3}, DType::f64), Tensor::from<std::int32_t>({1}, {0})),
        doctest::Contains("x must be (rows, features) f32"), Error);
    const Tensor a = Tensor::zeros({2, 3}, DType::f32);
    CHECK_THROWS_WITH_AS(similarities(a, Tensor::zeros({2, 4}, DType::f32), Similarity::dot),
                         doctest::Contains("with as many features, got (2, 3) and (2, 4)"), Error);
    CHECK_THROWS_WITH_AS(similarities(a, Tensor::zeros({3}, DType::f32), Similarity::dot),
                         doctest::Contains("must be (rows, features)"), Error);
    CHECK_THROWS_WITH_AS(similarities(a, Tensor::zeros({2, 3}, DType::f64), Similarity::dot),
                         doctest::Contains("one float dtype"), Error);
    Tensor y({2, 3}, DType::f32);
    CHECK_THROWS_WITH_AS(similarities(a, a, Similarity::dot, y),
                         doctest::Contains("y must be (2, 2), got (2, 3)"), Error);
  }
}
