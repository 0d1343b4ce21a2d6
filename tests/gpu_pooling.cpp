// Pooling on the GPU, or its emulation: the sizes that its kernels treat differently, in every
// dtype, against the float64 reference.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tensor/pooling.h"
#include "tensor/random.h"
#include "tests/devices.h"
#include "tests/gpu_runs.h"

namespace proxent {
namespace {
constexpr Device kGpu = Device::cuda;
constexpr DType kDTypes[] = {DType::f32, DType::bf16, DType::f16, DType::f64};
constexpr std::int64_t kChannels[] = {1, 3, 8, 33, 64};

// Whole numbers: every dtype holds them and sums of a few of them, and many are equal.
Tensor whole_numbers(const Shape& shape, std::uint64_t stream, double low = -3, double high = 4) {
  Tensor x(shape, DType::f32);
  fill_uniform(x, Philox(2, stream), low, high);
  return x.to(DType::i32).to(DType::f64);
}
Tensor on_gpu(const Tensor& x, DType dtype) { return x.to(dtype).to(kGpu); }

// Equal, NaN and NaN too.
void check_same(const Tensor& got, const Tensor& expected) {
  const auto values = got.to_vector<double>(), reference = expected.to_vector<double>();
  REQUIRE(got.shape() == expected.shape());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] == reference[i] || (std::isnan(values[i]) && std::isnan(reference[i]))) continue;
    INFO("element ", i, ": ", values[i], ", expected ", reference[i]);
    FAIL_CHECK("not the same");
    return;
  }
}

// Off by `ulps` units of float32 in the last place of the largest, and by `roundings` to the dtype.
void check_near(const Tensor& got, const Tensor& expected, double ulps, double roundings = 1) {
  const auto values = got.to_vector<double>(), reference = expected.to_vector<double>();
  REQUIRE(got.shape() == expected.shape());
  const DType dtype = got.dtype();
  const double rounding = dtype == DType::bf16 ? 0x1p-8 : dtype == DType::f16 ? 0x1p-11 : 0;
  double largest = 1;
  for (const double value : reference) largest = std::max(largest, std::abs(value));
  const double absolute = ulps * largest * (dtype == DType::f64 ? 0x1p-52 : 0x1p-23) +
                          (dtype == DType::f16 ? 0x1p-25 : 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::abs(values[i] - reference[i]) <=
        absolute + roundings * rounding * std::abs(reference[i]))
      continue;
    INFO("element ", i, ": ", values[i], ", expected ", reference[i]);
    FAIL_CHECK("too far off in ", got);
    return;
  }
}

// check(results of run()) under every order of the threads.
template <class Run, class Check>
void in_all_orders(const Run& run, const Check& check) {
  MemoryGuard guard(kGpu);
  for (const auto& result : in_thread_orders(1, run)) check(result);
}

struct Windows {
  Shape x;
  Pool2dOptions options;
};
std::vector<Windows> windows() {
  std::vector<Windows> all;
  for (const std::int64_t channels : kChannels) {
    all.push_back({{2, 4, 6, channels}, {.size = 2, .stride = 2}});
    all.push_back({{2, 7, 6, channels}, {.size = 3, .stride = 2, .padding = 1}});
    all.push_back({{1, 5, 4, channels}, {.size = 3, .stride = 1, .padding = 1}});
    all.push_back({{2, 5, 9, channels}, {.size = 2, .stride = 3}});
    all.push_back({{1, 6, 300, channels}, {.size = 5, .stride = 3, .padding = 2}});
  }
  all.push_back({{3, 1, 1, 8}, {.size = 1, .stride = 1}});
  all.push_back({{1, 17, 16, 4}, {.size = 16, .stride = 1, .padding = 8}});
  all.push_back({{1, 9, 8, 16}, {.size = 7, .stride = 2, .padding = 3}});
  all.push_back({{0, 4, 4, 8}, {.size = 2, .stride = 2}});
  all.push_back({{2, 4, 4, 0}, {.size = 2, .stride = 2}});
  return all;
}
}  // namespace
}  // namespace proxent

TEST_SUITE("gpu pooling") {
  using namespace proxent;

  TEST_CASE("largest of windows: values, taps and gradients are the CPU's") {
    if (!has_gpu()) return;
    for (const DType dtype : kDTypes)
      for (const auto& [shape, options] : windows()) {
        INFO(shape, detail::concat(" in ", dtype), ", size ", options.size, ", stride ",
             options.stride);
        const Tensor x = whole_numbers(shape, 1);
        const MaxPooled expected = max_pool2d(x, options);
        const Tensor dy = whole_numbers(expected.y.shape(), 2);
        const Tensor expected_dx = max_pool2d_backward(dy, expected.index, shape, options);
        struct Results {
          MaxPooled pooled;
          Tensor dx;
        };
        const auto run = [&, &shape = shape, &options = options] {
          const MaxPooled pooled = max_pool2d(on_gpu(x, dtype), options);
          return Results{pooled,
                         max_pool2d_backward(on_gpu(dy, dtype), pooled.index, shape, options)};
        };
        in_all_orders(run, [&](const Results& got) {
          check_same(got.pooled.y, expected.y);
          check_same(got.pooled.index, expected.index);
          check_same(got.dx, expected_dx);
        });
      }
  }

  TEST_CASE("NaN and infinities in windows are what they are on the CPU") {
    if (!has_gpu()) return;
    for (const std::int64_t channels : {3, 8}) {
      Tensor x = whole_numbers({2, 6, 6, channels}, 3);
      auto* values = x.data<double>();
      for (std::int64_t i = 0; i < x.numel(); i += 5) values[i] = NAN;
      for (std::int64_t i = 1; i < x.numel(); i += 3) values[i] = -INFINITY;
      for (std::int64_t i = 2; i < x.numel(); i += 31) values[i] = INFINITY;
      for (const DType dtype : kDTypes)
        for (const Pool2dOptions options : {Pool2dOptions{.size = 2, .stride = 2},
                                            {.size = 3, .stride = 2, .padding = 1},
                                            {.size = 4, .stride = 1}}) {
          const MaxPooled got = max_pool2d(on_gpu(x, dtype), options);
          const MaxPooled expected = max_pool2d(x, options);
          check_same(got.y, expected.y);
          check_same(got.index, expected.index);
        }
      const MaxPooled got = global_max_pool(on_gpu(x, DType::f32)), expected = global_max_pool(x);
      check_same(got.y, expected.y);
      check_same(got.index, expected.index);
    }
    const Tensor lowest = Tensor::full({1, 4, 4, 8}, DType::f64, -INFINITY);
    check_same(max_pool2d(on_gpu(lowest, DType::f32), {.size = 3, .stride = 1, .padding = 1}).index,
               max_pool2d(lowest, {.size = 3, .stride = 1, .padding = 1}).index);
  }

  TEST_CASE("mean of windows") {
    if (!has_gpu()) return;
    for (const DType dtype : kDTypes)
      for (const auto& [shape, options] : windows()) {
        INFO(shape, detail::concat(" in ", dtype), ", size ", options.size, ", stride ",
             options.stride);
        const Tensor x = whole_numbers(shape, 1, -50, 50), y = avg_pool2d(x, options);
        const Tensor dy = whole_numbers(y.shape(), 2, -50, 50);
        const Tensor dx = avg_pool2d_backward(dy, shape, options);
        const auto run = [&, &shape = shape, &options = options] {
          return std::vector<Tensor>{avg_pool2d(on_gpu(x, dtype), options),
                                     avg_pool2d_backward(on_gpu(dy, dtype), shape, options)};
        };
        in_all_orders(run, [&](const std::vector<Tensor>& got) {
          check_near(got[0], y, 4);
          check_near(got[1], dx, 16);  // up to 256 windows over a pixel
        });
      }
  }

  TEST_CASE("mean and largest of images") {
    if (!has_gpu()) return;
    for (const DType dtype : kDTypes)
      for (const std::int64_t channels : {1, 3, 8, 33, 64, 300, 520})
        for (const Shape& shape :
             {Shape{2, 1, 1, channels}, Shape{1, 2, 1, channels}, Shape{3, 7, 7, channels},
              Shape{1, 25, 40, channels}, Shape{0, 2, 2, channels}}) {
          INFO(shape, detail::concat(" in ", dtype));
          const Tensor x = whole_numbers(shape, 1, -50, 50), mean = global_avg_pool(x);
          const MaxPooled largest = global_max_pool(x);
          const Tensor dy = whole_numbers(mean.shape(), 2, -50, 50);
          const auto run = [&, &shape = shape] {
            const Tensor there = on_gpu(x, dtype), d = on_gpu(dy, dtype);
            const MaxPooled pooled = global_max_pool(there);
            return std::vector<Tensor>{global_avg_pool(there), global_avg_pool_backward(d, shape),
                                       pooled.y, pooled.index,
                                       global_max_pool_backward(d, pooled.index, shape)};
          };
          in_all_orders(run, [&](const std::vector<Tensor>& got) {
            check_near(got[0], mean, 2);
            check_near(got[1], global_avg_pool_backward(dy, shape), 2);
            check_same(got[2], largest.y);
            check_same(got[3], largest.index);
            check_same(got[4], global_max_pool_backward(dy, largest.index, shape));
          });
        }
  }

  TEST_CASE("generalised mean of images") {
    if (!has_gpu()) return;
    for (const DType dtype : kDTypes)
      for (const std::int64_t channels : kChannels)
        for (const double power : {1.0, 3.0, -2.0}) {
          const Shape shape{3, 7, 6, channels};
          INFO(shape, detail::concat(" in ", dtype), ", p ", power);
          Tensor x(shape, DType::f64);
          fill_uniform(x, Philox(2, 5), 0.25, 4);
          x = x.to(dtype).to(DType::f64);
          x.data<double>()[0] = -1;  // clamped
          const Tensor p = Tensor::full({1}, DType::f64, power), y = gem_pool(x, p);
          const Tensor dy = whole_numbers(y.shape(), 6);
          const auto run = [&] {
            const Tensor there = on_gpu(x, dtype), d = on_gpu(dy, dtype),
                         power_there = on_gpu(p, sum_dtype(dtype));
            const Tensor pooled = gem_pool(there, power_there);
            return std::vector<Tensor>{pooled, gem_pool_dx(d, there, power_there, pooled),
                                       gem_pool_dp(d, there, power_there, pooled)};
          };
          const Tensor dp = gem_pool_dp(dy, x, p, y);
          in_all_orders(run, [&](const std::vector<Tensor>& got) {
            check_near(got[0], y, 16);
            // y, of which dx has the power 1 - p, was rounded too.
            check_near(got[1], gem_pool_dx(dy, x, p, y), 32, 2 + std::abs(power - 1));
            // dp sums N C terms, each off by dy y (|log(u / y)| + 1 / p), at most 40, of a
            // rounding.
            const double terms = std::sqrt(static_cast<double>(y.numel()));
            const double of_half = dtype == DType::bf16  ? 0x1p-8
                                   : dtype == DType::f16 ? 0x1p-11
                                                         : 0;
            check_near(got[2], dp, 64 * terms + 40 * terms * of_half / 0x1p-23);
          });
        }
  }

  TEST_CASE("GeM in float32 survives powers that no float32 holds") {
    if (!has_gpu()) return;
    for (const float scale : {1e-5f, 1.0f, 1e5f}) {
      const Tensor x = Tensor::full({1, 2, 2, 8}, DType::f32, scale, kGpu);
      const Tensor p = Tensor::full({1}, DType::f32, 30, kGpu);
      const Tensor y = gem_pool(x, p), dy = Tensor::full({1, 8}, DType::f32, 1, kGpu);
      CHECK(y.to_vector<float>()[3] == doctest::Approx(scale).epsilon(1e-5));
      CHECK(gem_pool_dx(dy, x, p, y).to_vector<float>()[5] == doctest::Approx(0.25).epsilon(1e-4));
      CHECK(std::abs(gem_pool_dp(dy, x, p, y).item()) <= 1e-5 * scale);
    }
  }

  TEST_CASE("images that begin anywhere in memory") {
    if (!has_gpu()) return;
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Tensor x = whole_numbers({2, 6, 6, 8}, 1);
      Tensor room({x.numel() + 3}, dtype, kGpu);
      Tensor there = room.view(3, x.shape());
      there.copy_from(on_gpu(x, dtype));
      check_same(max_pool2d(there).y, max_pool2d(x).y);
      check_same(avg_pool2d(there), avg_pool2d(x));
      check_same(global_max_pool(there).index, global_max_pool(x).index);
      check_near(global_avg_pool(there), global_avg_pool(x), 2);
    }
  }

  TEST_CASE("a power of two bytes is refused") {
    if (!has_gpu()) return;
    const Tensor x({1, 2, 2, 3}, DType::bf16, kGpu), p({1}, DType::bf16, kGpu);
    CHECK_THROWS_WITH_AS(
        gem_pool(x, p),
        doctest::Contains(
            "gem_pool: p should be f32 on cuda for x (1, 2, 2, 3) bf16, got (1) bf16"),
        Error);
  }
}
