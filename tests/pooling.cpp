// Pooling: what the table of ops cannot say: ties, NaN, padding, extreme powers, refusals.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "tensor/random.h"

TEST_SUITE("pooling") {
  using namespace proxent;
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

  namespace {
  // One image of one channel.
  Tensor image(std::int64_t height, std::int64_t width, const std::vector<double>& pixels) {
    return Tensor::from<double>({1, height, width, 1}, pixels);
  }
  using Values = std::vector<double>;
  }  // namespace

  TEST_CASE("of equal values the first in row-major order gets the gradient") {
    const Tensor x = image(2, 3, {1, 5, 5, 5, 5, 5});
    const MaxPooled pooled = max_pool2d(x, {.size = 2, .stride = 1});
    CHECK(pooled.y.to_vector<double>() == Values{5, 5});
    CHECK(pooled.index.to_vector<std::uint8_t>() == std::vector<std::uint8_t>{1, 0});
    const Tensor dx = max_pool2d_backward(Tensor::from<double>({1, 1, 2, 1}, {10, 1}), pooled.index,
                                          x.shape(), {.size = 2, .stride = 1});
    CHECK(dx.to_vector<double>() == Values{0, 11, 0, 0, 0, 0});

    const MaxPooled whole = global_max_pool(x);
    CHECK(whole.index.to_vector<std::int32_t>() == std::vector<std::int32_t>{1});
    CHECK(global_max_pool_backward(Tensor::full({1, 1}, DType::f64, 3), whole.index, x.shape())
              .to_vector<double>() == Values{0, 3, 0, 0, 0, 0});
  }

  TEST_CASE("padding is never the largest and counts as zero in the mean") {
    const Tensor x = image(2, 2, {-1, -2, -3, -4});
    const Pool2dOptions options{.size = 3, .stride = 2, .padding = 1};
    CHECK(max_pool2d(x, options).y.to_vector<double>() == Values{-1});
    CHECK(avg_pool2d(x, options).to_vector<double>()[0] == doctest::Approx(-10.0 / 9));
  }

  TEST_CASE("rounded up, a last window hangs over the edge but begins inside") {
    const Pool2dOptions up{.size = 3, .stride = 2, .rounds_up = true};
    const Tensor row = image(1, 1, {4});
    CHECK_THROWS_AS(max_pool2d(row, up), Error);
    const Tensor x = image(4, 4, {0, 1, 2, 9, 4, 5, 6, 7, 8, 3, 3, 3, 1, 2, 11, 10});
    const MaxPooled pooled = max_pool2d(x, up);
    CHECK(pooled.y.shape() == Shape{1, 2, 2, 1});
    CHECK(pooled.y.to_vector<double>() == Values{8, 9, 11, 11});
    const Tensor dy = Tensor::from<double>({1, 2, 2, 1}, {1, 2, 4, 8});
    const Tensor dx = max_pool2d_backward(dy, pooled.index, x.shape(), up);
    CHECK(dx.to_vector<double>() == Values{0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 12, 0});
    // torch.nn.MaxPool2d(ceil_mode=True) of n pixels: 7 fit evenly; of 2 with padding 1 a second
    // window would begin in the padding behind.
    CHECK(max_pool2d(Tensor::zeros({1, 7, 8, 1}, DType::f32), up).y.shape() == Shape{1, 3, 4, 1});
    CHECK(max_pool2d(Tensor::zeros({1, 2, 3, 1}, DType::f32),
                     {.size = 2, .stride = 3, .padding = 1, .rounds_up = true})
              .y.shape() == Shape{1, 1, 2, 1});
    CHECK_THROWS_WITH_AS(avg_pool2d(x, up), doctest::Contains("of max_pool2d only"), Error);
  }

  TEST_CASE("minus infinity and NaN pass through") {
    const double low = -std::numeric_limits<double>::infinity();
    const Tensor x = image(2, 2, {low, low, low, low});
    CHECK(max_pool2d(x).y.item() == low);
    CHECK(max_pool2d(x).index.to_vector<std::uint8_t>()[0] == 0);
    CHECK(std::isnan(max_pool2d(image(2, 2, {9, kNan, 3, 4})).y.item()));
    CHECK(std::isnan(global_max_pool(image(2, 2, {9, kNan, 3, 4})).y.item()));
  }

  TEST_CASE("pixels that no window covers get no gradient") {
    const Variable x = Variable::leaf(image(3, 3, {1, 2, 9, 3, 4, 9, 9, 9, 9}));
    Tape tape;
    tape.backward(sum(max_pool2d(x) + avg_pool2d(x)));
    CHECK(x.gradient().to_vector<double>() == Values{0.25, 0.25, 0, 0.25, 1.25, 0, 0, 0, 0});
  }

  TEST_CASE("GeM lies between the mean (p = 1) and the largest value (large p)") {
    Tensor x({2, 3, 3, 4}, DType::f64);
    fill_uniform(x, Philox(1, 2), 0.1, 1);
    const auto gem = [&](double p) {
      return gem_pool(x, Tensor::full({1}, DType::f64, p)).to_vector<double>();
    };
    const auto mean = global_avg_pool(x).to_vector<double>();
    const auto largest = global_max_pool(x).y.to_vector<double>();
    for (std::size_t i = 0; i < mean.size(); ++i) {
      CHECK(gem(1)[i] == doctest::Approx(mean[i]).epsilon(1e-12));
      CHECK(gem(3)[i] > mean[i]);
      CHECK(gem(3)[i] < largest[i]);
      CHECK(gem(2000)[i] == doctest::Approx(largest[i]).epsilon(2e-3));  // 9^(1/2000) = 1.0011
    }
  }

  TEST_CASE("GeM in float32 survives powers that no float32 holds") {
    for (const float scale : {1e-5f, 1.0f, 1e5f}) {
      const Variable x = Variable::leaf(Tensor::full({1, 2, 2, 1}, DType::f32, scale));
      const Variable p = Variable::leaf(Tensor::full({1}, DType::f32, 30));
      Tape tape;
      const Variable y = gem_pool(x, p);
      CHECK(y.value().item() == doctest::Approx(scale).epsilon(1e-5));
      tape.backward(sum(y));
      CHECK(x.gradient().to_vector<float>()[0] == doctest::Approx(0.25).epsilon(1e-4));
      CHECK(std::abs(p.gradient().item()) <= 1e-6 * scale);
    }
  }

  TEST_CASE("GeM reads values below 1e-6 as 1e-6 and sends them no gradient") {
    const Variable x = Variable::leaf(image(1, 2, {-5, 2}));
    const Variable p = Variable::leaf(Tensor::full({1}, DType::f64, 2));
    Tape tape;
    const Variable y = gem_pool(x, p);
    CHECK(y.value().item() == doctest::Approx(std::sqrt((1e-12 + 4) / 2)));
    tape.backward(sum(y));
    CHECK(x.gradient().to_vector<double>()[0] == 0);
    CHECK(x.gradient().to_vector<double>()[1] == doctest::Approx(1 / std::sqrt(2)));
  }

  TEST_CASE("an empty batch pools to nothing") {
    const Tensor x({0, 4, 4, 3}, DType::f32);
    CHECK(max_pool2d(x).y.shape() == Shape{0, 2, 2, 3});
    CHECK(global_avg_pool(x).shape() == Shape{0, 3});
  }

  TEST_CASE("what does not fit is refused by name") {
    const Tensor x({1, 4, 4, 3}, DType::f32), flat({4, 3}, DType::f32),
        none({1, 0, 4, 3}, DType::f32);
    const auto refused = [](const auto& call, const char* text) {
      CHECK_THROWS_WITH_AS(call(), doctest::Contains(text), Error);
    };
    refused([&] { max_pool2d(flat); }, "max_pool2d: x must be (N, H, W, C), got (4, 3)");
    refused([&] { avg_pool2d(none); }, "avg_pool2d: x has no pixels, (1, 0, 4, 3)");
    refused([&] { max_pool2d(x, {.size = 0}); }, "max_pool2d: size must be 1 to 16, got 0");
    refused([&] { max_pool2d(x, {.size = 17}); }, "max_pool2d: size must be 1 to 16, got 17");
    refused([&] { max_pool2d(x, {.stride = 0}); }, "max_pool2d: stride must be at least 1, got 0");
    refused([&] { max_pool2d(x, {.size = 3, .padding = 2}); },
            "max_pool2d: padding must be 0 to half of size 3, got 2");
    refused([&] { avg_pool2d(x, {.size = 7, .padding = 1}); },
            "avg_pool2d: size 7 is larger than x (1, 4, 4, 3) padded by 1");
    refused([&] { global_max_pool(flat); }, "global_max_pool: x must be (N, H, W, C), got (4, 3)");
    refused([&] { gem_pool(x, Tensor({3}, DType::f32)); },
            "gem_pool: p must be one number, got (3) f32");
    refused(
        [&] {
          max_pool2d_backward(x, Tensor(x.shape(), DType::u8), {1, 4, 4, 3});
        },
        "max_pool2d_backward: dy should be (1, 2, 2, 3), got (1, 4, 4, 3)");
  }
}
