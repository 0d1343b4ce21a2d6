// Shapes, views, conversions: what every op builds on.
#include "tensor/tensor.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tensor/pointwise.h"
#include "tensor/reduce.h"
#include "tests/devices.h"

TEST_SUITE("tensor") {
  using namespace proxent;

  TEST_CASE("a shape prints, compares, and counts from both ends") {
    const Shape shape = {32, 64, 56, 56};
    CHECK(detail::concat(shape) == "(32, 64, 56, 56)");
    CHECK(detail::concat(Shape{}) == "()");
    CHECK(shape[-1] == 56);
    CHECK(shape[-4] == 32);
    CHECK(shape.numel() == 32 * 64 * 56 * 56);
    CHECK(Shape{}.numel() == 1);
    CHECK(Shape{3, 0}.numel() == 0);
    CHECK(shape.with(-1, 2) == Shape{32, 64, 56, 2});
    CHECK(Shape{1, 3} != Shape{3, 1});
    CHECK(Shape{3} != Shape{3, 1});
    CHECK_THROWS_WITH_AS(shape[4], doctest::Contains("dimension 4 of rank 4"), Error);
    CHECK_THROWS_WITH_AS((Shape{2, -1}), doctest::Contains("must not be negative, got -1"), Error);
    constexpr std::int64_t kMany = std::int64_t{1} << 40;
    CHECK_THROWS_WITH_AS((Shape{kMany, kMany}), doctest::Contains("more than 2^56"), Error);
    CHECK_THROWS_WITH_AS((Shape{kMany, 1 << 20}), doctest::Contains("more than 2^56"), Error);
    CHECK(Shape{kMany, 0}.numel() == 0);
    CHECK_THROWS_WITH_AS((Shape{1, 1, 1, 1, 1}), doctest::Contains("at most 4"), Error);
  }

  TEST_CASE("views share memory and know their place") {
    Tensor x = Tensor::from<float>({3, 2}, {0, 1, 2, 3, 4, 5});
    Tensor last = x.slice(2, 1);
    CHECK(last.to_vector<float>() == std::vector<float>{4, 5});
    CHECK(x.reshape({2, 3}).slice(1, 1).to_vector<float>() == std::vector<float>{3, 4, 5});
    CHECK(x.view(1, {2, 2}).to_vector<float>() == std::vector<float>{1, 2, 3, 4});
    CHECK(x.slice(3, 0).numel() == 0);
    last.fill(9);
    CHECK(x.to_vector<float>() == std::vector<float>{0, 1, 2, 3, 9, 9});
    const auto version = x.storage()->version();
    last.copy_from(Tensor::zeros({1, 2}, DType::f32));
    CHECK(x.storage()->version() == version + 1);

    Tensor copy = x.clone();
    copy.fill(7);
    CHECK(x.to_vector<float>() == std::vector<float>{0, 1, 2, 3, 0, 0});
  }

  TEST_CASE("NaN is not lost on the way") {
    on_every_device([](Device device) {
      const float nan = std::nanf("");
      const Tensor x = Tensor::from<float>({3}, {nan, -1, 2}).to(device);
      const Tensor zeros = Tensor::zeros({3}, DType::f32, device);
      for (const Tensor& y : {relu(x), maximum(x, zeros), maximum(zeros, x), minimum(x, zeros),
                              minimum(zeros, x), at_least(x, 0), at_most(x, 0), leaky_relu(x, 0.1)})
        CHECK(std::isnan(y.to_vector<float>()[0]));
      CHECK(relu(x).to_vector<float>()[1] == 0);
      CHECK(relu(x).to_vector<float>()[2] == 2);
    });
  }

  TEST_CASE("a sum of many rows keeps what float32 would drop one by one") {
    const Tensor x = Tensor::from<float>({4, 1}, {1 << 24, 1, 1, 1});
    CHECK(sum_to(x, {1, 1}).item() == (1 << 24) + 4);  // 2^24 + 3 as a float32
    CHECK(sum_to(x.reshape({1, 4}), {1, 1}).item() == (1 << 24) + 4);
  }

  TEST_CASE("what does not fit is refused") {
    Tensor x({3, 2}, DType::f32);
    CHECK_THROWS_WITH_AS(x.reshape({4, 2}), doctest::Contains("(3, 2) has 6 elements"), Error);
    CHECK_THROWS_WITH_AS(x.slice(2, 2), doctest::Contains("entries 2 to 4"), Error);
    CHECK_THROWS_WITH_AS(x.slice(-1, 1), doctest::Contains("entries -1 to 0"), Error);
    CHECK_THROWS_WITH_AS(x.view(5, {2}), doctest::Contains("elements 5 to 7"), Error);
    CHECK_THROWS_WITH_AS(x.item(), doctest::Contains("expected one element, got (3, 2) f32"),
                         Error);
    CHECK_THROWS_WITH_AS(x.data<double>(), doctest::Contains("holds f32, asked for f64"), Error);
    CHECK_THROWS_WITH_AS(Tensor::from<float>({3}, {1, 2}), doctest::Contains("got 2"), Error);
    CHECK_THROWS_WITH_AS(x.copy_from(Tensor({2, 3}, DType::f32)),
                         doctest::Contains("(3, 2) f32 on cpu and (2, 3) f32 on cpu"), Error);
    CHECK_THROWS_WITH_AS(x.copy_from(Tensor({3, 2}, DType::f64, Device::meta)),
                         doctest::Contains("(3, 2) f32 on cpu and (3, 2) f64 on meta"), Error);
  }

  TEST_CASE("copy_from converts what has another dtype") {
    Tensor x({2}, DType::f32);
    x.copy_from(Tensor::from<double>({2}, {1.5, -3}));
    CHECK(x.to_vector<double>() == std::vector<double>{1.5, -3});
    Tensor half({2}, DType::bf16);
    half.copy_from(x);
    CHECK(half.to_vector<double>() == std::vector<double>{1.5, -3});
  }

  TEST_CASE("conversions between all dtypes keep small numbers") {
    const std::vector<double> values = {0, 1, 2, 100};
    for (DType from :
         {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::u8, DType::i64})
      for (DType to :
           {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::u8, DType::i64})
        CHECK(Tensor::from<double>({4}, values).to(from).to(to).to_vector<double>() == values);
    CHECK(Tensor::full({2}, DType::u8, 255).to_vector<int>() == std::vector<int>{255, 255});
    const Tensor same({2}, DType::f32);
    CHECK(same.to(DType::f32).storage() == same.storage());
  }

  TEST_CASE("bf16 rounds to nearest, ties to even, and keeps infinity and NaN") {
    const auto rounded = [](float value) { return static_cast<float>(bf16(value)); };
    const float ulp = 0x1p-7f;  // between 1 and 2
    CHECK(rounded(1 + ulp) == 1 + ulp);
    CHECK(rounded(1 + ulp / 2) == 1);                // a tie: to the even side
    CHECK(rounded(1 + ulp * 3 / 2) == 1 + 2 * ulp);  // a tie: to the even side
    CHECK(rounded(1 + ulp * 0.51f) == 1 + ulp);
    CHECK(rounded(-1 - ulp * 0.51f) == -1 - ulp);
    CHECK(rounded(std::numeric_limits<float>::max()) == INFINITY);
    CHECK(rounded(-INFINITY) == -INFINITY);
    CHECK(std::isnan(rounded(NAN)));
    CHECK(std::isnan(rounded(std::bit_cast<float>(0x7f800001u))));  // payload in lost bits only
  }

  TEST_CASE("f16 rounds to nearest, ties to even, over its whole range") {
    const auto rounded = [](float value) { return static_cast<float>(f16(value)); };
    // Every half is a fixed point; so is half way to its neighbour rounded to the even one, and a
    // little more or less to the nearer one.
    for (std::uint32_t bits = 0; bits < 0x7c00u; ++bits) {
      const auto half = [](std::uint32_t bits) {
        f16 h;
        h.bits = static_cast<std::uint16_t>(bits);
        return h;
      };
      const float low = static_cast<float>(half(bits));
      const float high = bits == 0x7bff ? 65536.0f : static_cast<float>(half(bits + 1));
      const float middle = low + (high - low) / 2;  // exact
      const std::uint32_t sign = bits % 2 ? 0x8000u : 0;
      const float side = sign ? -1.0f : 1.0f;
      const bool is_right = f16(side * low).bits == (sign | bits) &&
                            f16(side * middle).bits == (sign | (bits + bits % 2)) &&
                            f16(side * std::nextafter(middle, 0.0f)).bits == (sign | bits) &&
                            f16(side * std::nextafter(middle, 1e6f)).bits == (sign | (bits + 1));
      INFO(bits);
      if (!is_right) CHECK(is_right);
    }
    CHECK(rounded(65519.996f) == 65504);
    CHECK(rounded(65520) == INFINITY);
    CHECK(rounded(-1e30f) == -INFINITY);
    CHECK(rounded(-INFINITY) == -INFINITY);
    CHECK(std::signbit(rounded(-0.0f)));
    CHECK(std::isnan(rounded(NAN)));
    CHECK(std::isnan(rounded(std::bit_cast<float>(0x7f800001u))));  // payload in lost bits only
  }
}
