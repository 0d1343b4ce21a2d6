// Batch norm on the GPU, or its emulation: the sizes that its kernels treat differently, in every
// dtype, against the float64 reference.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tensor/batch_norm.h"
#include "tensor/random.h"
#include "tests/devices.h"
#include "tests/gpu_runs.h"
#include "tests/tensors.h"

namespace proxent {
namespace {
constexpr Device kGpu = Device::cuda;

struct Case {
  Shape shape;
  bool has_relu = false, has_residual = false, uses_batch = true;
  std::int64_t shift = 0;  // of images, from an aligned address

  BatchNormOptions options() const {
    return {
        .eps = 1e-3, .momentum = 0.25, .uses_batch_statistics = uses_batch, .has_relu = has_relu};
  }
  std::int64_t rows() const { return shape.numel() / shape[-1]; }
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.shape << (c.has_residual ? " + residual" : "") << (c.has_relu ? ", relu" : "")
             << (c.uses_batch ? "" : ", running statistics") << ", shift " << c.shift;
}

// Images hold values of `dtype`, exactly.
struct Inputs {
  Tensor x, residual, dy, gamma, beta, running_mean, running_var;

  Inputs(const Case& c, DType dtype, std::uint64_t seed) {
    const auto fill = [&](const Shape& shape, double low, double high) {
      Tensor values(shape, DType::f64);
      fill_uniform(values, Philox(seed, stream++), low, high);
      return values;
    };
    const auto image = [&] { return fill(c.shape, -1, 2).to(dtype).to(DType::f64); };
    const Shape channels{c.shape[-1]};
    x = image();
    dy = image();
    if (c.has_residual) residual = image();
    gamma = fill(channels, 0.5, 1.5).to(DType::f32).to(DType::f64);
    beta = fill(channels, -0.5, 0.5).to(DType::f32).to(DType::f64);
    running_mean = fill(channels, 0, 1).to(DType::f32).to(DType::f64);
    running_var = fill(channels, 0.5, 1.5).to(DType::f32).to(DType::f64);
  }

 private:
  std::uint64_t stream = 0;
};

// What forward and backward return, on the CPU, and after them the running statistics.
struct Result {
  std::string name;
  Tensor value;
  std::int64_t terms = 1;  // that were summed
  double magnitude = 1;    // of what nearly cancels in it
};
std::vector<Result> run(const Case& c, const Inputs& in, DType dtype, Device device) {
  const auto image = [&](const Tensor& x) {
    return x.is_defined() ? shifted(x.to(dtype), c.shift, device) : Tensor();
  };
  const auto parameter = [&](const Tensor& x) { return x.to(sum_dtype(dtype)).to(device).clone(); };
  Tensor mean = parameter(in.running_mean), variance = parameter(in.running_var);
  const BatchNormed forward = batch_norm(image(in.x), parameter(in.gamma), parameter(in.beta), mean,
                                         variance, c.options(), image(in.residual));
  const BatchNormGradients d =
      batch_norm_backward(image(in.dy), forward.kept, c.options(), {.dresidual = c.has_residual});
  // dx is what remains of gamma invstd dy after its mean and its slope are taken away: of few rows,
  // next to nothing.
  double steepest = 0;
  for (const double value : forward.kept.invstd.to_vector<double>())
    steepest = std::max(steepest, 1.5 * 2 * value);
  std::vector<Result> all = {{"y", forward.y},
                             {"dx", d.dx, 1, steepest},
                             {"dgamma", d.dgamma, c.rows()},
                             {"dbeta", d.dbeta, c.rows()},
                             {"running mean", mean},
                             {"running variance", variance}};
  if (c.has_residual) all.push_back({"dresidual", d.dresidual, 1});
  for (Result& result : all) result.value = result.value.to(Device::cpu);
  return all;
}

// Rounding to the dtype of two bytes, by half a unit in the last place, is all that may be added to
// the error of float32, of which there are a few units: for each sum, and where sums that are
// nearly equal are subtracted.
double relative_rounding(DType dtype) {
  return dtype == DType::bf16 ? 0x1p-8 : dtype == DType::f16 ? 0x1p-11 : 0;
}
double absolute_error(DType dtype, std::int64_t terms, double largest) {
  const double unit = dtype == DType::f64 ? 0x1p-52 : 0x1p-23;
  return 8 * unit * std::sqrt(static_cast<double>(terms)) * largest +
         (dtype == DType::f16 ? 0x1p-25 : 0);  // half of the smallest number
}
void check_near(const Result& got, const Result& expected) {
  INFO(got.name, " ", got.value);
  const auto values = got.value.to_vector<double>(), reference = expected.value.to_vector<double>();
  REQUIRE(values.size() == reference.size());
  double largest = expected.magnitude;
  for (const double value : reference) largest = std::max(largest, std::abs(value));
  const DType dtype = got.value.dtype();
  const double absolute = absolute_error(dtype, got.terms, largest);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double error = std::abs(values[i] - reference[i]);
    if (!(error <= absolute + relative_rounding(dtype) * std::abs(reference[i]))) {
      INFO("element ", i, ": ", values[i], ", expected ", reference[i]);
      FAIL_CHECK("off by ", error);
      return;
    }
  }
}
bool are_bitwise_equal(const std::vector<Result>& a, const std::vector<Result>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(a[i].value.raw(), b[i].value.raw(),
                    static_cast<std::size_t>(a[i].value.bytes())) != 0)
      return false;
  return true;
}

// Inputs whose sums before the ReLU are all clearly positive or negative: at 0 the derivative
// jumps.
Inputs inputs_off_the_kink(Case c, DType dtype) {
  c.shift = 0;
  c.has_relu = false;
  for (std::uint64_t seed = 0;; ++seed) {
    const Inputs in(c, dtype, seed);
    double nearest = 1;
    for (const double value : run(c, in, DType::f64, Device::cpu)[0].value.to_vector<double>())
      nearest = std::min(nearest, std::abs(value));
    if (nearest > 1e-5) return in;
  }
}

void check_case(const Case& c, DType dtype) {
  INFO(c, detail::concat(" in ", dtype));
  const Inputs in = inputs_off_the_kink(c, dtype);
  const auto expected = run(c, in, DType::f64, Device::cpu);
  MemoryGuard guard(kGpu);
  const auto all = in_thread_orders(static_cast<std::uint64_t>(c.shape.numel()),
                                    [&] { return run(c, in, dtype, kGpu); });
  for (std::size_t i = 0; i < expected.size(); ++i) check_near(all[0][i], expected[i]);
  for (const auto& again : all) CHECK(are_bitwise_equal(all[0], again));
}

constexpr DType kDTypes[] = {DType::f32, DType::bf16, DType::f16, DType::f64};
}  // namespace
}  // namespace proxent

TEST_SUITE("gpu batch norm") {
  using namespace proxent;

  TEST_CASE("all forms, with whole packs of channels, broken ones and single channels") {
    if (!has_gpu()) return;
    for (const DType dtype : kDTypes)
      for (const std::int64_t channels : {1, 3, 8, 33, 64}) {
        check_case({.shape = {2, channels}}, dtype);
        check_case({.shape = {2, channels}, .has_relu = true, .has_residual = true}, dtype);
        check_case({.shape = {1000, channels}, .has_relu = true}, dtype);
        check_case({.shape = {1000, channels}, .has_relu = true, .has_residual = true}, dtype);
        check_case({.shape = {10, 4, 25, channels}, .has_residual = true}, dtype);
        check_case({.shape = {1, channels}, .uses_batch = false}, dtype);
        check_case({.shape = {3, 5, 7, channels},
                    .has_relu = true,
                    .has_residual = true,
                    .uses_batch = false},
                   dtype);
        check_case({.shape = {1000, channels}, .has_relu = true, .uses_batch = false}, dtype);
      }
  }

  TEST_CASE("tiles of channels, several turns over the rows, more rows than threads") {
    if (!has_gpu()) return;
    for (const DType dtype : {DType::f32, DType::bf16}) {
      check_case({.shape = {300, 72}, .has_relu = true}, dtype);
      check_case({.shape = {130, 520}, .has_relu = true, .has_residual = true}, dtype);
      check_case({.shape = {6'000, 16}, .has_relu = true, .has_residual = true}, dtype);
      check_case({.shape = {40'000, 1}}, dtype);
      check_case({.shape = {5, 4'100}}, dtype);
    }
  }

  TEST_CASE("images that begin anywhere in memory") {
    if (!has_gpu()) return;
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const std::int64_t shift : {1, 4}) {
        check_case({.shape = {50, 64}, .has_relu = true, .shift = shift}, dtype);
        check_case({.shape = {50, 64}, .has_relu = true, .has_residual = true, .shift = shift},
                   dtype);
        check_case({.shape = {50, 9}, .has_relu = true, .has_residual = true, .shift = shift},
                   dtype);
      }
  }

  TEST_CASE("a large offset costs no accuracy in float32") {
    if (!has_gpu()) return;
    Tensor x({1'000, 8}, DType::f32);
    fill_normal(x, Philox(3, 1), 1e4, 1);  // whose squares have an ulp of 8
    const auto normed = [&](DType dtype, Device device) {
      const Tensor one = Tensor::full({8}, dtype, 1, device);
      Tensor mean, variance;
      return batch_norm(x.to(dtype).to(device), one, one, mean, variance, {});
    };
    const auto got = normed(DType::f32, kGpu), expected = normed(DType::f64, Device::cpu);
    const auto y = got.y.to_vector<double>(), reference = expected.y.to_vector<double>();
    // The mean itself is only known to half an ulp of 1e4, 5e-4 deviations.
    for (std::size_t i = 0; i < y.size(); ++i) REQUIRE(std::abs(y[i] - reference[i]) < 1e-3);
    for (std::size_t c = 0; c < 8; ++c)
      CHECK(got.kept.invstd.to_vector<double>()[c] ==
            doctest::Approx(expected.kept.invstd.to_vector<double>()[c]).epsilon(1e-5));
  }

  TEST_CASE("one value far off at the start costs no accuracy") {
    if (!has_gpu()) return;
    // Its channel's deviations are taken from it, or from a mean that it moved.
    std::vector<float> values(4'000, 0);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(i % 7) - 3.0f + (i == 0 || i == 3'999 ? 1e4f : 0.0f);
    const Tensor x = Tensor::from<float>({4'000, 1}, values);
    const auto kept = [&](DType dtype, Device device) {
      const Tensor one = Tensor::full({1}, dtype, 1, device);
      Tensor mean, variance;
      return batch_norm(x.to(dtype).to(device), one, one, mean, variance, {}).kept;
    };
    const BatchNormKept got = kept(DType::f32, kGpu), expected = kept(DType::f64, Device::cpu);
    const double invstd = expected.invstd.item();
    CHECK(std::abs(got.mean.item() - expected.mean.item()) * invstd < 1e-6);
    CHECK(got.invstd.item() == doctest::Approx(invstd).epsilon(1e-6));
  }

  TEST_CASE("NaN reaches every output of its channel, and nothing else") {
    if (!has_gpu()) return;
    for (const std::int64_t channels : {8, 3}) {
      Tensor x({100, channels}, DType::f32);
      fill_normal(x, Philox(1, 1), 0, 1);
      x.data<float>()[17 * channels + 2] = NAN;
      Tensor mean = Tensor::zeros({channels}, DType::f32, kGpu);
      Tensor variance = Tensor::full({channels}, DType::f32, 1, kGpu);
      const Tensor one = Tensor::full({channels}, DType::f32, 1, kGpu);
      const auto y =
          batch_norm(x.to(kGpu), one, one, mean, variance, {.has_relu = true}).y.to_vector<float>();
      for (std::size_t i = 0; i < y.size(); ++i)
        CHECK(std::isnan(y[i]) == (i % static_cast<std::size_t>(channels) == 2));
      for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
        CHECK((mean.to_vector<float>()[c] == 0) == (c == 2));  // the running ones stay there
        CHECK((variance.to_vector<float>()[c] == 1) == (c == 2));
      }
    }
  }

  TEST_CASE("an empty batch is normalised by running statistics; its sums are zero") {
    if (!has_gpu()) return;
    for (const std::int64_t channels : {8, 3, 0}) {
      const BatchNormOptions options{.uses_batch_statistics = false, .has_relu = true};
      const Tensor one = Tensor::full({channels}, DType::f32, 1, kGpu);
      Tensor mean = one.clone(), variance = one.clone();
      const Tensor x({0, 2, 2, channels}, DType::f32, kGpu);
      const BatchNormed forward = batch_norm(x, one, one, mean, variance, options, x);
      CHECK(forward.y.shape() == x.shape());
      const auto d = batch_norm_backward(x, forward.kept, options);
      CHECK(d.dx.shape() == x.shape());
      CHECK(d.dgamma.to_vector<float>() == std::vector<float>(static_cast<std::size_t>(channels)));
      CHECK(d.dbeta.to_vector<float>() == std::vector<float>(static_cast<std::size_t>(channels)));
    }
  }

  TEST_CASE("each direction takes two kernels") {
    if (!has_gpu()) return;
    const Tensor x = Tensor::full({64, 32}, DType::bf16, 1, kGpu);
    const Tensor one = Tensor::full({32}, DType::f32, 1, kGpu);
    Tensor mean = one.clone(), variance = one.clone();
    const std::int64_t before = gpu_launches();
    const BatchNormed forward = batch_norm(x, one, one, mean, variance, {.has_relu = true}, x);
    CHECK(gpu_launches() == before + 2);
    batch_norm_backward(x, forward.kept, {.has_relu = true}, {.dresidual = true});
    CHECK(gpu_launches() == before + 4);
  }

  TEST_CASE("parameters of two bytes are refused") {
    if (!has_gpu()) return;
    const Tensor x = Tensor::full({4, 3}, DType::bf16, 1, kGpu);
    const Tensor half = Tensor::full({3}, DType::bf16, 1, kGpu);
    Tensor mean, variance;
    CHECK_THROWS_WITH_AS(
        batch_norm(x, half, half, mean, variance, {}),
        doctest::Contains("gamma should be (3) f32 on cuda for x (4, 3) bf16, got (3) bf16"),
        Error);
  }
}
