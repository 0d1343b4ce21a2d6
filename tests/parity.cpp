// Proof 2 of every op: float32 against the float64 reference, forward and backward, with oneDNN,
// without, and on the GPU (or its emulation), in memory that starts as NaN and has canaries behind
// every tensor.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "autograd/ops.h"
#include "tensor/gpu.h"
#include "tensor/onednn.h"
#include "tensor/random.h"
#include "tests/devices.h"
#include "tests/gpu_runs.h"
#include "tests/tensors.h"
#include "train/op_table.h"

namespace proxent {
namespace {

// What computes a row, and in what.
struct Setup {
  Device device = Device::cpu;
  DType dtype = DType::f32;
};

// A result may be off by this many units in the last place of the tensor's largest element, times
// the square root of the number of summands behind it (rounding errors add up as a random walk).
// float32: the ops need up to 4.3 (batch norm's gradients, which subtract nearly equal sums; libm's
// tanh and pow take 3), so this leaves room for other vector widths; a wrong formula is off by 1e5
// and more. Halves: each op computes in float32 and rounds once, by half a unit; a gradient is made
// of up to three such roundings.
constexpr double kUlps = 8, kUlpsOfHalves = 2;
double allowed_ulps(DType dtype) { return is_half(dtype) ? kUlpsOfHalves : kUlps; }
double ulp_of(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return 0x1p-7;
    case DType::f16:
      return 0x1p-10;
    case DType::f64:
      return 0x1p-52;
    default:
      return 0x1p-23;
  }
}

struct OnednnSwitch {
  explicit OnednnSwitch(bool is_on) { set_onednn_enabled(is_on); }
  ~OnednnSwitch() { set_onednn_enabled(true); }
};

// y and the gradients of sum(y dy), in order, on the CPU. Inputs and dy are those of `rounding`.
std::vector<Tensor> results(const OpRow& row, Setup setup, DType rounding) {
  const auto prepared = [&](const Tensor& x, DType dtype) {
    return x.to(rounding).to(dtype).to(setup.device);
  };
  const auto is_parameter = [&](std::size_t input) {
    return std::count(row.parameters.begin(), row.parameters.end(), input) > 0;
  };
  std::vector<Variable> leaves;
  for (const Tensor& input : op_inputs(row, DType::f32))
    leaves.push_back(Variable::leaf(
        prepared(input, is_parameter(leaves.size()) ? sum_dtype(setup.dtype) : setup.dtype)));
  Tape tape;
  const Variable y = row.call(leaves);
  Tensor dy(y.shape(), DType::f32);
  fill_uniform(dy, Philox(0, stream_of(row.name + " dy")), 0.5, 1.5);
  tape.backward(y, prepared(dy, setup.dtype));
  std::vector<Tensor> all = {y.value().to(Device::cpu)};
  for (const Variable& leaf : leaves) {
    CHECK(leaf.gradient().device() == setup.device);
    all.push_back(leaf.gradient().to(Device::cpu));
  }
  return all;
}

// Largest error in units of the bound above; NaN is infinitely wrong.
double error_in_ulps(const Tensor& got, const Tensor& expected, std::int64_t terms,
                     DType dtype = DType::f32) {
  double largest = 1, error = 0;  // inputs are about 1, so that is what small results come from
  const auto values = got.to_vector<double>(), reference = expected.to_vector<double>();
  for (double value : reference) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double difference = std::abs(values[i] - reference[i]);
    error = difference <= error ? error : std::isnan(difference) ? INFINITY : difference;
  }
  return error / (largest * ulp_of(dtype) *
                  std::sqrt(static_cast<double>(std::max<std::int64_t>(1, terms))));
}

// The results of several runs.
std::vector<std::vector<Tensor>> runs(const OpRow& row, Setup setup) {
  const auto run = [&] { return results(row, setup, setup.dtype); };
  if (setup.device == Device::cuda) return in_thread_orders(stream_of(row.name), run);
  return {run(), run()};
}

double check_row(const OpRow& row, Setup setup) {
  const std::vector<Tensor> expected = results(row, {Device::cpu, DType::f64}, setup.dtype);
  MemoryGuard guard(setup.device);
  const auto all = runs(row, setup);
  const std::vector<Tensor>& got = all[0];
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    INFO(row.name, row.inputs.empty() ? Shape() : row.inputs[0],
         i ? " gradient of input " : " output", i ? std::to_string(i - 1) : "");
    REQUIRE(got[i].shape() == expected[i].shape());
    const double error = error_in_ulps(got[i], expected[i], row.terms, setup.dtype);
    CHECK(error <= allowed_ulps(setup.dtype));
    for (const auto& again : all) CHECK(is_bitwise_equal(got[i], again[i]));
    largest = std::max(largest, error);
  }
  return largest;
}

const std::set<std::string> kUnary = {
#define UNARY(name, ...) #name,
#define UNARY_P(name, ...) #name,
#define BINARY(name, ...)
#include "tensor/pointwise.def"
};
const std::set<std::string> kBinary = {
#define UNARY(name, ...)
#define UNARY_P(name, ...)
#define BINARY(name, ...) #name,
#include "tensor/pointwise.def"
};

// Rows longer than a warp, than a block of threads, and neither's multiple. The first axis of
// cross_entropy and pick belongs to their labels.
const std::map<std::string, std::vector<std::vector<Shape>>> kLongRows = {
    {"softmax", {{{2, 129}}, {{3, 1000}}, {{1, 4099}}}},
    {"log_softmax", {{{2, 129}}, {{3, 1000}}, {{1, 4099}}}},
    {"log_sum_exp", {{{2, 129}}, {{3, 1000}}, {{1, 4099}}}},
    {"max_last", {{{2, 129}}, {{3, 1000}}, {{1, 4099}}}},
    {"sum_last", {{{2, 129}}, {{3, 1000}}, {{1, 4099}}}},
    {"normalize_rows", {{{2, 129}}, {{3, 1000}}, {{1, 4099}}}},
    {"layer_norm", {{{2, 129}, {129}, {129}}, {{37, 300}, {300}, {300}}}},
    {"layer_norm_plain", {{{2, 129}}, {{3, 1000}}, {{1, 4099}}}},
    {"cross_entropy", {{{4, 129}}, {{4, 1000}}, {{4, 4099}}}},
    {"pick", {{{3, 1000}}}},
    {"gather_rows", {{{4, 2, 300}}}},
    {"sum_to", {{{40, 3, 70}}}},
    {"concatenate", {{{2, 3, 129}, {2, 5, 129}, {2, 1, 129}}}},
};

// The row at sizes where vector loops have no, one, or a broken last step.
std::vector<OpRow> variants(const OpRow& row) {
  std::vector<std::vector<Shape>> inputs;
  std::int64_t terms = 31 * 17;  // a gradient is summed over what was broadcast
  if (kUnary.contains(row.name)) inputs = {{{}}, {{1}}, {{31, 17}}, {{0}}, {{3, 0, 2}}};
  if (kBinary.contains(row.name))
    inputs = {{{}, {}},           {{1}, {1}},    {{31, 17}, {31, 17}}, {{31, 17}, {17}},
              {{31, 1}, {1, 17}}, {{0, 3}, {3}}, {{3, 0}, {3, 0}},     {{2, 1, 3, 1}, {5, 1, 7}},
              {{}, {31, 17}}};
  if (const auto rows = kLongRows.find(row.name); rows != kLongRows.end()) {
    inputs = rows->second;
    terms = 1000;
  }
  std::vector<OpRow> rows;
  for (const auto& shapes : inputs) {
    rows.push_back(row);
    rows.back().inputs = shapes;
    rows.back().terms = terms;
  }
  return rows;
}

// True if the error says that an op does not take the dtype.
bool is_about_dtype(const Error& error) {
  return error.message().find("f32 or f64") != std::string::npos;
}

void check_table(Setup setup) {
  int rows = 0, shapes = 0;
  double largest = 0;
  std::string where, skipped;
  const auto check_and_note = [&](const OpRow& row) {
    const double error = check_row(row, setup);
    if (error > largest) largest = error, where = row.name;
  };
  for (const OpRow& row : op_table()) {
    try {
      check_and_note(row);
      ++rows;
    } catch (const Error& error) {
      if (!is_half(setup.dtype) || !is_about_dtype(error)) throw;
      skipped += " " + row.name;
      continue;
    }
    for (const OpRow& variant : variants(row)) {
      check_and_note(variant);
      ++shapes;
    }
  }
  MESSAGE(rows, " rows and ", shapes, " more shapes",
          detail::concat(" in ", setup.dtype, " on ", setup.device), ", largest error ", largest,
          " of ", allowed_ulps(setup.dtype), " allowed, in ", where);
  if (!skipped.empty()) MESSAGE("skipped ", std::ssize(op_table()) - rows, " rows:", skipped);
  CHECK(rows > 0);
}

// On the GPU, or its emulation; counts the rows as skipped where there is none.
void check_table_on_gpu(DType dtype) {
  const std::string problem = gpu_report().problem;
  if (problem.empty())
    check_table({Device::cuda, dtype});
  else
    MESSAGE("skipped ", op_table().size(), " rows: ", problem);
}
}  // namespace
}  // namespace proxent

TEST_SUITE("parity") {
  using namespace proxent;

  TEST_CASE("float32 reference loops agree with float64") {
    OnednnSwitch off(false);
    check_table({});
  }

  TEST_CASE("float32 through oneDNN agrees with float64") {
    if (!uses_onednn()) {
      MESSAGE("skipped ", op_table().size(), " rows: this build has no oneDNN");
      return;
    }
    check_table({});
  }

  TEST_CASE("float32 on the GPU agrees with float64") { check_table_on_gpu(DType::f32); }
  TEST_CASE("float64 on the GPU agrees with float64") { check_table_on_gpu(DType::f64); }
  TEST_CASE("bf16 on the GPU agrees with float64") { check_table_on_gpu(DType::bf16); }
  TEST_CASE("half precision on the GPU agrees with float64") { check_table_on_gpu(DType::f16); }

  TEST_CASE("the comparison sees what it should") {
    const Tensor one = Tensor::full({3}, DType::f64, 1),
                 off = Tensor::full({3}, DType::f64, 1 + 1e-5);
    CHECK(error_in_ulps(one, one, 1) == 0);
    CHECK(error_in_ulps(off, one, 1) > kUlps);
    CHECK(error_in_ulps(Tensor::full({3}, DType::f64, NAN), one, 1) > kUlps);
  }
}
