// Batch norm: what the table of ops cannot say: running statistics, modes, fusion, accuracy,
// memory.
#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "tensor/random.h"

TEST_SUITE("batch_norm") {
  using namespace proxent;

  namespace {
  Tensor normal(const Shape& shape, DType dtype, std::uint64_t stream, double mean = 0) {
    Tensor x(shape, dtype);
    fill_normal(x, Philox(3, stream), mean, 1);
    return x;
  }
  Tensor ones(std::int64_t n, DType dtype) { return Tensor::full({n}, dtype, 1); }

  // Inputs of a layer with two channels and its running statistics.
  struct Layer {
    Tensor gamma = Tensor::from<double>({2}, {2, 0.5}), beta = Tensor::from<double>({2}, {1, -1});
    Tensor mean = Tensor::from<double>({2}, {10, 20}), variance = Tensor::from<double>({2}, {4, 9});
    Tensor operator()(const Tensor& x, const BatchNormOptions& options) {
      return batch_norm(x, gamma, beta, mean, variance, options).y;
    }
  };
  }  // namespace

  TEST_CASE("running statistics move by momentum, the variance unbiased") {
    Layer layer;
    layer(Tensor::from<double>({3, 2}, {1, 0, 2, 0, 6, 3}), {.momentum = 0.25});
    CHECK(layer.mean.to_vector<double>() == std::vector<double>{7.5 + 0.25 * 3, 15 + 0.25 * 1});
    CHECK(layer.variance.to_vector<double>()[0] == doctest::Approx(3 + 0.25 * 7));
    CHECK(layer.variance.to_vector<double>()[1] == doctest::Approx(6.75 + 0.25 * 3));
  }

  TEST_CASE("a batch that is not finite leaves the running statistics, in its channel alone") {
    const double infinity = std::numeric_limits<double>::infinity();
    Layer layer;
    layer(Tensor::from<double>({3, 2}, {1, 0, infinity, 0, 6, 3}), {.momentum = 0.25});
    CHECK(layer.mean.to_vector<double>() == std::vector<double>{10, 15 + 0.25 * 1});
    CHECK(layer.variance.to_vector<double>()[0] == 4);
  }

  TEST_CASE("with running statistics nothing moves and a single row will do") {
    Layer layer;
    const Tensor y =
        layer(Tensor::from<double>({1, 2}, {12, 17}), {.eps = 0, .uses_batch_statistics = false});
    CHECK(y.to_vector<double>() == std::vector<double>{3, -1.5});
    CHECK(layer.mean.to_vector<double>() == std::vector<double>{10, 20});
    CHECK(layer.variance.to_vector<double>() == std::vector<double>{4, 9});
  }

  TEST_CASE("backward uses the running statistics that forward used") {
    Tensor mean = Tensor::zeros({1}, DType::f64), variance = ones(1, DType::f64);
    const Variable x = Variable::leaf(Tensor::from<double>({2, 1}, {1, 3}));
    const Variable gamma = Variable::leaf(Tensor::full({1}, DType::f64, 5));
    Tape tape;
    const Variable y = batch_norm(x, gamma, Tensor::zeros({1}, DType::f64), mean, variance,
                                  {.eps = 0, .uses_batch_statistics = false});
    mean.fill(100);
    variance.fill(100);
    tape.backward(sum(y));
    CHECK(x.gradient().to_vector<double>() == std::vector<double>{5, 5});
    CHECK(gamma.gradient().item() == 4);
  }

  TEST_CASE("undefined running statistics are not tracked") {
    Tensor none_mean, none_variance;
    const Tensor x = normal({8, 2, 2, 3}, DType::f64, 1), one = ones(3, DType::f64);
    Tensor mean = ones(3, DType::f64), variance = ones(3, DType::f64);
    CHECK(batch_norm(x, one, one, none_mean, none_variance, {}).y.to_vector<double>() ==
          batch_norm(x, one, one, mean, variance, {}).y.to_vector<double>());
  }

  TEST_CASE("the fused forms equal the plain one followed by add and relu") {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Variable x = Variable::leaf(normal({5, 7, 3, 19}, dtype, 1));
      const Variable residual = Variable::leaf(normal({5, 7, 3, 19}, dtype, 2));
      const Variable gamma = Variable::leaf(normal({19}, dtype, 3));
      const Variable beta = Variable::leaf(normal({19}, dtype, 4));
      const Tensor dy = normal({5, 7, 3, 19}, dtype, 5);
      Tensor mean, variance;
      const auto results = [&](const auto& function) {
        for (Variable v : {x, residual, gamma, beta}) v.clear_gradient();
        Tape tape;
        const Variable y = function();
        tape.backward(y, dy.clone());
        std::vector<std::vector<double>> all{y.value().to_vector<double>()};
        for (const Variable& v : {x, residual, gamma, beta})
          all.push_back(v.gradient().to_vector<double>());
        return all;
      };
      const auto fused = results(
          [&] { return batch_norm(x, gamma, beta, mean, variance, {.has_relu = true}, residual); });
      const auto plain =
          results([&] { return relu(batch_norm(x, gamma, beta, mean, variance, {}) + residual); });
      const auto added =
          results([&] { return relu(batch_norm(x, gamma, beta, mean, variance, {}, residual)); });
      CHECK(fused == plain);
      CHECK(fused == added);
    }
  }

  TEST_CASE("a large offset costs no accuracy in float32") {
    // Sums of squares would lose everything here: 1e4^2 has an ulp of 8, the variance is 1.
    const Tensor x = normal({32, 9, 9, 5}, DType::f32, 1, 1e4);
    const Tensor one32 = ones(5, DType::f32), one64 = ones(5, DType::f64);
    Tensor mean32 = one32.clone(), variance32 = one32.clone();
    Tensor mean64 = one64.clone(), variance64 = one64.clone();
    const auto got = batch_norm(x, one32, one32, mean32, variance32, {});
    const auto expected = batch_norm(x.to(DType::f64), one64, one64, mean64, variance64, {});
    // The mean itself is only known to half an ulp of 1e4, 5e-4 deviations.
    const auto a = got.y.to_vector<double>(), b = expected.y.to_vector<double>();
    for (std::size_t i = 0; i < a.size(); ++i) REQUIRE(std::abs(a[i] - b[i]) < 1e-3);
    for (std::size_t c = 0; c < 5; ++c)
      CHECK(got.kept.invstd.to_vector<double>()[c] ==
            doctest::Approx(expected.kept.invstd.to_vector<double>()[c]).epsilon(1e-5));
  }

  TEST_CASE("constant channels give beta, and gradients that are finite") {
    const Variable x = Variable::leaf(Tensor::full({4, 2, 2, 3}, DType::f32, 0.1));
    Tensor mean, variance;
    Tape tape;
    const Variable y = batch_norm(x, ones(3, DType::f32), ones(3, DType::f32), mean, variance, {});
    for (const float value : y.value().to_vector<float>()) CHECK(value == doctest::Approx(1));
    tape.backward(sum(square(y)));
    for (const float value : x.gradient().to_vector<float>()) CHECK(std::abs(value) < 1e-2);
  }

  TEST_CASE("results do not depend on the number of threads") {
    const Tensor x = normal({16, 30, 31, 24}, DType::f32, 1), dy = normal(x.shape(), DType::f32, 2);
    const Tensor gamma = normal({24}, DType::f32, 3);
    const auto run = [&](int threads) {
      omp_set_num_threads(threads);
      Tensor mean, variance;
      const BatchNormOptions options{.has_relu = true};
      const BatchNormed y = batch_norm(x, gamma, gamma, mean, variance, options);
      const auto d = batch_norm_backward(dy, y.kept, options);
      std::vector<float> all;
      for (const Tensor& t : {y.y, y.kept.mean, y.kept.invstd, d.dx, d.dgamma, d.dbeta})
        for (const float value : t.to_vector<float>()) all.push_back(value);
      return all;
    };
    const int threads = omp_get_max_threads();
    const auto one = run(1), three = run(3);
    omp_set_num_threads(threads);
    CHECK(one == three);
  }

  TEST_CASE("backward takes the memory of a gradient that is given away, and of no other") {
    const Tensor x = normal({64, 8, 8, 4}, DType::f32, 1), gamma = ones(4, DType::f32);
    Tensor mean, variance;
    const BatchNormed forward = batch_norm(x, gamma, gamma, mean, variance, {});
    Tensor dy = normal(x.shape(), DType::f32, 2);
    const auto before = dy.to_vector<float>();
    const auto kept = batch_norm_backward(dy, forward.kept, {});
    CHECK(dy.to_vector<float>() == before);
    const auto* memory = dy.raw();
    const auto reused = batch_norm_backward(std::move(dy), forward.kept, {});
    CHECK(reused.dx.raw() == memory);
    CHECK(reused.dx.to_vector<float>() == kept.dx.to_vector<float>());
  }

  TEST_CASE("frozen: no sums are made that nobody wants") {
    const Tensor x = normal({4, 3}, DType::f64, 1), gamma = ones(3, DType::f64);
    Tensor mean = Tensor::zeros({3}, DType::f64), variance = ones(3, DType::f64);
    const BatchNormOptions options{.uses_batch_statistics = false};
    const BatchNormed forward = batch_norm(x, gamma, gamma, mean, variance, options);
    const auto d = batch_norm_backward(x, forward.kept, options, {.parameters = false});
    CHECK(d.dx.is_defined());
    CHECK_FALSE(d.dgamma.is_defined());
    CHECK_FALSE(d.dresidual.is_defined());
  }

  TEST_CASE("what does not fit is refused by name") {
    Tensor mean, variance, short_mean = ones(2, DType::f32), right = ones(3, DType::f32);
    const Tensor x({4, 3}, DType::f32), one = ones(3, DType::f32);
    const auto refused = [](const auto& call, const char* text) {
      CHECK_THROWS_WITH_AS(call(), doctest::Contains(text), Error);
    };
    refused(
        [&] {
          batch_norm(x.reshape({4, 3, 1}), one, one, mean, variance, {});
        },
        "batch_norm: x must be (N, C) or (N, H, W, C), got (4, 3, 1)");
    refused([&] { batch_norm(x, ones(4, DType::f32), one, mean, variance, {}); },
            "batch_norm: gamma should be (3) f32 on cpu for x (4, 3) f32, got (4) f32 on cpu");
    refused([&] { batch_norm(x, one, ones(3, DType::f64), mean, variance, {}); },
            "batch_norm: beta should be (3) f32 on cpu for x (4, 3) f32, got (3) f64 on cpu");
    refused([&] { batch_norm(x, one, one, short_mean, right, {}); },
            "batch_norm: running_mean should be (3) f32 on cpu for x (4, 3) f32, got (2) f32");
    refused([&] { batch_norm(x, one, one, right, variance, {}); },
            "batch_norm: running_var should be (3)");
    refused([&] { batch_norm(x, one, one, mean, variance, {.uses_batch_statistics = false}); },
            "batch_norm: running_mean should be (3)");
    refused(
        [&] {
          batch_norm(x, one, one, mean, variance, {}, Tensor({4, 4}, DType::f32));
        },
        "batch_norm: residual should be like x (4, 3) f32 on cpu, got (4, 4) f32 on cpu");
    refused([&] { batch_norm(x.slice(0, 1), one, one, mean, variance, {}); },
            "batch_norm: batch statistics need at least 2 values per channel, got x (1, 3)");
    refused([&] { batch_norm(x.slice(0, 0), one, one, mean, variance, {}); },
            "batch_norm: batch statistics need at least 2 values per channel, got x (0, 3)");
  }
}
