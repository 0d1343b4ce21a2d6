// Convolution: float32 on every backend against the float64 reference, and what is refused.
#include "tensor/conv.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <limits>

#include "tensor/onednn.h"
#include "tensor/random.h"

TEST_SUITE("conv") {
  using namespace proxent;

  namespace {
  struct Case {
    Shape x, w;
    Conv2dOptions options;
  };
  struct Results {
    Tensor y, dx, sum, dw;  // sum: dx added to what was there
  };

  Tensor uniform(const Shape& shape, std::uint64_t stream) {
    Tensor x(shape, DType::f32);
    fill_uniform(x, Philox(7, stream), -1, 1);
    return x;
  }

  Results run(const Case& c, DType dtype) {
    const Tensor x = uniform(c.x, 1).to(dtype), w = uniform(c.w, 2).to(dtype);
    Results out;
    out.y = conv2d(x, w, c.options);
    const Tensor dy = uniform(out.y.shape(), 3).to(dtype);
    out.dx = conv2d_dx(dy, w, c.x, c.options);
    out.sum = uniform(c.x, 4).to(dtype);
    conv2d_dx_into(dy, w, c.options, out.sum);
    out.dw = conv2d_dw(dy, x, c.w, c.options);
    return out;
  }

  // Products of numbers in (-1, 1) summed in any order: the error grows with the root of their
  // number.
  void check_close(const Tensor& got, const Tensor& expected, std::int64_t terms) {
    const auto a = got.to_vector<double>(), b = expected.to_vector<double>();
    double largest = 1, error = 0;
    for (const double value : b) largest = std::max(largest, std::abs(value));
    for (std::size_t i = 0; i < b.size(); ++i)
      error = std::isnan(a[i]) ? INFINITY : std::max(error, std::abs(a[i] - b[i]));
    const double eps = std::numeric_limits<float>::epsilon();
    CHECK(error <= 2 * eps * std::sqrt(static_cast<double>(terms)) * largest);
  }

  bool same_bits(const Results& a, const Results& b) {
    return a.y.to_vector<float>() == b.y.to_vector<float>() &&
           a.dx.to_vector<float>() == b.dx.to_vector<float>() &&
           a.sum.to_vector<float>() == b.sum.to_vector<float>() &&
           a.dw.to_vector<float>() == b.dw.to_vector<float>();
  }

  // Calls f once per backend of this build.
  template <class F>
  void for_each_backend(const F& f) {
    struct Restore {
      ~Restore() { set_onednn_enabled(true); }
    } restore;
    for (const bool is_onednn : {true, false}) {
      if (is_onednn && !has_onednn()) continue;
      set_onednn_enabled(is_onednn);
      INFO((is_onednn ? "oneDNN" : "reference loops"));
      f();
    }
  }
  }  // namespace

  TEST_CASE("float32 agrees with float64 for every kind of layer, twice the same bits") {
    const Case cases[] = {
        {{2, 16, 16, 3}, {64, 7, 7, 3}, {.stride = 2, .padding = 3}},   // ImageNet stem
        {{2, 12, 12, 3}, {64, 3, 3, 3}, {.padding = 1}},                // small-image stem
        {{4, 8, 8, 64}, {64, 3, 3, 64}, {.padding = 1}},                // block
        {{2, 8, 8, 64}, {128, 3, 3, 64}, {.stride = 2, .padding = 1}},  // first of a stage
        {{2, 8, 8, 64}, {128, 1, 1, 64}, {.stride = 2}},                // its shortcut
        {{2, 7, 5, 32}, {128, 1, 1, 32}, {}},                           // bottleneck
        {{3, 2, 2, 128}, {128, 3, 3, 128}, {.padding = 1}},             // most taps on padding
        {{1, 1, 1, 48}, {16, 3, 3, 48}, {.padding = 1}},                // all but one
        {{1, 7, 9, 13}, {17, 3, 3, 13}, {.padding = 1}},                // primes
        {{5, 6, 7, 1}, {1, 2, 3, 1}, {.stride = 3, .padding = 1}},      // single channels
        {{1, 1, 1, 1}, {1, 1, 1, 1}, {}},
        {{2, 9, 3, 5}, {3, 5, 1, 5}, {.stride = 1, .padding = 4}},  // windows wholly on padding
        {{1, 4, 4, 19}, {640, 1, 1, 19}, {}},
    };
    for (const Case& c : cases) {
      const Results expected = run(c, DType::f64);
      const std::int64_t pixels = expected.y.numel() / c.w[0];
      for_each_backend([&] {
        INFO("x " << c.x << " w " << c.w << " stride " << c.options.stride << " padding "
                  << c.options.padding);
        const Results got = run(c, DType::f32);
        check_close(got.y, expected.y, c.w.numel() / c.w[0]);
        check_close(got.dx, expected.dx, c.w.numel() / c.w[3]);
        check_close(got.sum, expected.sum, c.w.numel() / c.w[3] + 1);
        check_close(got.dw, expected.dw, pixels);
        CHECK(same_bits(got, run(c, DType::f32)));
      });
    }
  }

  TEST_CASE("dx is added to what stood there") {
    const Case c{{2, 5, 4, 3}, {7, 3, 3, 3}, {.padding = 1}};
    for_each_backend([&] {
      const Results got = run(c, DType::f32);
      const auto before = uniform(c.x, 4).to_vector<double>(), sum = got.sum.to_vector<double>();
      const auto dx = got.dx.to_vector<double>();
      for (std::size_t i = 0; i < sum.size(); ++i)
        CHECK(sum[i] == doctest::Approx(before[i] + dx[i]).epsilon(1e-5));
    });
    Tensor sum = uniform({1, 4, 4, 3}, 4);
    const Tensor dy = uniform({1, 4, 4, 8}, 3), w = uniform({8, 3, 3, 3}, 2);
    const std::uint32_t version = sum.storage()->version();
    conv2d_dx_into(dy, w, {.padding = 1}, sum);
    CHECK(sum.storage()->version() == version + 1);
    CHECK_THROWS_WITH_AS(conv2d_dx_into(dy, w, {}, sum),
                         doctest::Contains("conv2d_dx_into: dy should be (1, 2, 2, 8)"), Error);
    Tensor wider = sum.to(DType::f64);
    CHECK_THROWS_WITH_AS(conv2d_dx_into(dy, w, {.padding = 1}, wider),
                         doctest::Contains("conv2d_dx_into: dy and sum differ in dtype"), Error);
  }

  TEST_CASE("the reference does not depend on the number of threads") {
    const Case c{{3, 9, 7, 11}, {13, 3, 3, 11}, {.stride = 2, .padding = 1}};
    set_onednn_enabled(false);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const Results one = run(c, DType::f32);
    omp_set_num_threads(3);
    const Results three = run(c, DType::f32);
    omp_set_num_threads(threads);
    set_onednn_enabled(true);
    CHECK(same_bits(one, three));
  }

  TEST_CASE("outputs are written in full, whatever was there, and nothing behind them") {
    for (const Case& c : {Case{{2, 5, 5, 3}, {7, 3, 3, 3}, {.stride = 2, .padding = 1}},
                          Case{{3, 16, 16, 8}, {16, 1, 1, 8}, {.stride = 2}},
                          Case{{3, 16, 16, 4}, {16, 1, 1, 4}, {.stride = 2}}}) {
      const Results expected = run(c, DType::f64);
      set_memory_guard(Device::cpu, true);
      for_each_backend([&] {
        const Results got = run(c, DType::f32);
        check_close(got.y, expected.y, 27);
        check_close(got.dx, expected.dx, 63);
        check_close(got.sum, expected.sum, 64);
        check_close(got.dw, expected.dw, 192);
      });
      set_memory_guard(Device::cpu, false);
    }
  }

  TEST_CASE("repeated calls ask the system for no memory") {
    const Case c{{2, 8, 8, 64}, {64, 3, 3, 64}, {.padding = 1}};
    for_each_backend([&] {
      run(c, DType::f32);
      const MemoryReport before = memory_report(Device::cpu);
      run(c, DType::f32);
      CHECK(memory_report(Device::cpu).system_requests == before.system_requests);
      CHECK(memory_report(Device::cpu).in_use == before.in_use);
    });
  }

  TEST_CASE("an empty batch gives empty images and zero weights' gradient") {
    for_each_backend([&] {
      const Results got = run({{0, 4, 4, 3}, {5, 3, 3, 3}, {.padding = 1}}, DType::f32);
      CHECK(got.y.shape() == Shape{0, 4, 4, 5});
      CHECK(got.dx.shape() == Shape{0, 4, 4, 3});
      CHECK(got.dw.to_vector<float>() == std::vector<float>(5 * 3 * 3 * 3, 0.0f));
    });
  }

  TEST_CASE("what does not fit is refused by name, with both shapes") {
    const auto message = [](const Shape& x, const Shape& w, const Conv2dOptions& options,
                            DType w_dtype = DType::f32) -> std::string {
      try {
        conv2d(Tensor(x, DType::f32), Tensor(w, w_dtype), options);
      } catch (const Error& error) {
        return error.message();
      }
      return "nothing";
    };
    CHECK(message({1, 4, 4, 3}, {8, 3, 3, 4}, {}) ==
          "conv2d: channels differ, x (1, 4, 4, 3) and w (8, 3, 3, 4)");
    CHECK(message({4, 4, 3}, {8, 3, 3, 3}, {}) == "conv2d: x must be (N, H, W, C), got (4, 4, 3)");
    CHECK(message({1, 4, 4, 3}, {3, 8}, {}) == "conv2d: w must be (K, R, S, C), got (3, 8)");
    CHECK(message({1, 4, 2, 3}, {8, 5, 5, 3}, {.padding = 1}) ==
          "conv2d: w (8, 5, 5, 3) is larger than x (1, 4, 2, 3) padded by 1");
    CHECK(message({1, 4, 4, 3}, {8, 3, 3, 3}, {.stride = 0}) ==
          "conv2d: stride must be at least 1, got 0");
    CHECK(message({1, 4, 4, 3}, {8, 3, 3, 3}, {.padding = -1}) ==
          "conv2d: padding must be 0 to 1048576, got -1");
    CHECK(message({1, 4, 4, 3}, {8, 0, 3, 3}, {}) ==
          "conv2d: w must have at least one row and column, got (8, 0, 3, 3)");
    CHECK(message({1, 4, 4, 3}, {8, 3, 3, 3}, {}, DType::f64) ==
          "conv2d: x and w differ in dtype or device, (1, 4, 4, 3) f32 on cpu and (8, 3, 3, 3) f64 "
          "on cpu");
    const Tensor dy({1, 4, 4, 8}, DType::f32), w({8, 3, 3, 3}, DType::f32);
    CHECK_THROWS_WITH_AS(
        conv2d_dx(dy, w, {1, 5, 5, 3}, {.padding = 1}),
        doctest::Contains("conv2d_dx: dy should be (1, 5, 5, 8), got (1, 4, 4, 8)"), Error);
  }
}
