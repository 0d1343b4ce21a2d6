// Proof 2 of every op: float32 against the float64 reference, forward and backward, with oneDNN,
// without, and on the GPU (or its emulation), in memory that starts as NaN and has canaries behind
// every tensor.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "autograd/ops.h"
#include "tensor/cpu/backend.h"
#include "tensor/cuda/pending.h"
#include "tensor/gpu.h"
#include "tensor/random.h"
#include "tests/op_table.h"

#ifdef PROXENT_CUDA_EMULATED
#include "tests/cuda_emulator/emulator.h"
#endif

namespace proxent {
namespace {

// A float32 result may be off by kUlps units in the last place of the tensor's largest element,
// times the square root of the number of summands behind it (rounding errors add up as a random
// walk). The ops need up to 4.3 (batch norm's gradients, which subtract nearly equal sums; libm's
// tanh and pow take 3), so this leaves room for other vector widths; a wrong formula is off by 1e5
// and more.
constexpr double kUlps = 8;

struct MemoryGuard {
  explicit MemoryGuard(Device device) : device(device) { set_memory_guard(device, true); }
  ~MemoryGuard() { set_memory_guard(device, false); }
  Device device;
};
struct OnednnSwitch {
  explicit OnednnSwitch(bool is_on) { set_onednn_enabled(is_on); }
  ~OnednnSwitch() { set_onednn_enabled(true); }
};

// y and the gradients of sum(y dy), in order.
std::vector<Tensor> results(const OpRow& row, DType dtype, Device device = Device::cpu) {
  std::vector<Variable> leaves;
  for (const Tensor& input : op_inputs(row, dtype))
    leaves.push_back(Variable::leaf(input.to(device)));
  Tape tape;
  const Variable y = row.call(leaves);
  Tensor dy(y.shape(), DType::f32);
  fill_uniform(dy, Philox(0, stream_of(row.name + " dy")), 0.5, 1.5);
  tape.backward(y, dy.to(dtype).to(device));
  std::vector<Tensor> all = {y.value().to(Device::cpu)};
  for (const Variable& leaf : leaves) {
    CHECK(leaf.gradient().device() == device);
    all.push_back(leaf.gradient().to(Device::cpu));
  }
  return all;
}

// Largest error in units of the bound above without kUlps; NaN is infinitely wrong.
double error_in_ulps(const Tensor& got, const Tensor& expected, std::int64_t terms) {
  double largest = 1, error = 0;  // inputs are about 1, so that is what small results come from
  const auto values = got.to_vector<double>(), reference = expected.to_vector<double>();
  for (double value : reference) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double difference = std::abs(values[i] - reference[i]);
    error = difference <= error ? error : std::isnan(difference) ? INFINITY : difference;
  }
  return error / (largest * std::numeric_limits<float>::epsilon() *
                  std::sqrt(static_cast<double>(std::max<std::int64_t>(1, terms))));
}

bool is_bitwise_equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

// The results of several runs. Under the emulator each run gives the threads another order: a
// kernel that lacks a barrier does not give the same bits in all.
std::vector<std::vector<Tensor>> runs(const OpRow& row, Device device) {
#ifdef PROXENT_CUDA_EMULATED
  if (device == Device::cuda) {
    using cuda_emulator::Order;
    std::vector<std::vector<Tensor>> all;
    for (const Order order : {Order::reverse, Order::shuffled, Order::forward}) {
      cuda_emulator::set_order(order, stream_of(row.name));
      all.push_back(results(row, DType::f32, device));
    }
    return all;
  }
#endif
  return {results(row, DType::f32, device), results(row, DType::f32, device)};
}

double check_row(const OpRow& row, Device device) {
  const std::vector<Tensor> expected = results(row, DType::f64);
  MemoryGuard guard(device);
  const auto all = runs(row, device);
  const std::vector<Tensor>& got = all[0];
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    INFO(row.name, row.inputs.empty() ? Shape() : row.inputs[0],
         i ? " gradient of input " : " output", i ? std::to_string(i - 1) : "");
    REQUIRE(got[i].shape() == expected[i].shape());
    const double error = error_in_ulps(got[i], expected[i], row.terms);
    CHECK(error <= kUlps);
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

// The row at sizes where vector loops have no, one, or a broken last step.
std::vector<OpRow> variants(const OpRow& row) {
  std::vector<std::vector<Shape>> inputs;
  if (kUnary.contains(row.name)) inputs = {{{}}, {{1}}, {{31, 17}}, {{0}}, {{3, 0, 2}}};
  if (kBinary.contains(row.name))
    inputs = {{{}, {}},           {{1}, {1}},    {{31, 17}, {31, 17}}, {{31, 17}, {17}},
              {{31, 1}, {1, 17}}, {{0, 3}, {3}}, {{3, 0}, {3, 0}},     {{2, 1, 3, 1}, {5, 1, 7}},
              {{}, {31, 17}}};
  std::vector<OpRow> rows;
  for (const auto& shapes : inputs) {
    rows.push_back(row);
    rows.back().inputs = shapes;
    rows.back().terms = 31 * 17;  // a gradient is summed over what was broadcast
  }
  return rows;
}

void check_table(Device device = Device::cpu) {
  int rows = 0, shapes = 0;
  double largest = 0;
  std::string where, skipped;
  const auto check_and_note = [&](const OpRow& row) {
    const double error = check_row(row, device);
    if (error > largest) largest = error, where = row.name;
  };
  for (const OpRow& row : op_table()) {
    try {
      check_and_note(row);
      ++rows;
    } catch (const PendingKernel& error) {
      skipped += "\n  " + row.name + ": " + error.message();
      continue;
    }
    for (const OpRow& variant : variants(row)) {
      check_and_note(variant);
      ++shapes;
    }
  }
  MESSAGE(rows, " rows and ", shapes, " more shapes, largest error ", largest, " of ", kUlps,
          " allowed, in ", where);
  if (!skipped.empty()) MESSAGE("skipped ", std::ssize(op_table()) - rows, " rows:", skipped);
}
}  // namespace
}  // namespace proxent

TEST_SUITE("parity") {
  using namespace proxent;

  TEST_CASE("float32 reference loops agree with float64") {
    OnednnSwitch off(false);
    check_table();
  }

  TEST_CASE("float32 through oneDNN agrees with float64") {
    if (!uses_onednn()) {
      MESSAGE("skipped ", op_table().size(), " rows: this build has no oneDNN");
      return;
    }
    check_table();
  }

  TEST_CASE("float32 on the GPU, or its emulation, agrees with float64") {
    if (const std::string problem = gpu_report().problem; !problem.empty()) {
      MESSAGE("skipped ", op_table().size(), " rows: ", problem);
      return;
    }
    check_table(Device::cuda);
  }

  TEST_CASE("the comparison sees what it should") {
    const Tensor one = Tensor::full({3}, DType::f64, 1),
                 off = Tensor::full({3}, DType::f64, 1 + 1e-5);
    CHECK(error_in_ulps(one, one, 1) == 0);
    CHECK(error_in_ulps(off, one, 1) > kUlps);
    CHECK(error_in_ulps(Tensor::full({3}, DType::f64, NAN), one, 1) > kUlps);
  }
}
