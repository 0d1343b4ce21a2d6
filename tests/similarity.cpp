// Similarities keep their bits wherever a pair of rows stands.
#include "tensor/similarity.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tensor/random.h"

TEST_SUITE("similarity") {
  using namespace proxent;

  Tensor normal(Shape shape, DType dtype, std::uint64_t stream) {
    Tensor x(shape, dtype);
    fill_normal(x, Philox(7, stream), 0, 1);
    return x;
  }

  TEST_CASE("equal the sums in double") {
    for (const DType dtype : {DType::f32, DType::f64})
      for (const auto& [rows, columns, depth] :
           {std::tuple{1, 1, 1}, {3, 5, 0}, {0, 4, 3}, {4, 0, 3}, {9, 50, 7}, {70, 101, 64}}) {
        const double unit = dtype == DType::f32 ? 0x1p-24 : 0x1p-53;
        const Tensor q = normal({rows, depth}, dtype, 1), g = normal({columns, depth}, dtype, 2);
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
  }

  TEST_CASE("a pair has the same bits in every tile") {
    const std::int64_t rows = 37, columns = 131;
    for (const std::int64_t depth : {3, 64, 513}) {
      const Tensor q = normal({rows, depth}, DType::f32, 1);
      const Tensor g = normal({columns, depth}, DType::f32, 2);
      for (const Similarity kind : {Similarity::dot, Similarity::euclidean}) {
        const Tensor whole = similarities(q, g, kind);
        for (const auto& [r, n] : {std::pair{0, 1}, {5, 2}, {13, 24}, {36, 1}})
          for (const auto& [c, m] : {std::pair{0, 1}, {7, 48}, {50, 81}, {130, 1}}) {
            const Tensor tile = similarities(q.slice(r, n), g.slice(c, m), kind);
            bool is_same = true;
            for (int i = 0; i < n; ++i)
              for (int j = 0; j < m; ++j)
                is_same &=
                    tile.data<float>()[i * m + j] == whole.data<float>()[(r + i) * columns + c + j];
            CHECK(is_same);
          }
        const Tensor turned = similarities(g, q, kind);
        CHECK(turned.data<float>()[5 * rows + 11] == whole.data<float>()[11 * columns + 5]);
      }
    }
  }

  TEST_CASE("refuses what does not fit") {
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
