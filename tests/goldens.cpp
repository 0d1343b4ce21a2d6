// Proof 3 of every op: PyTorch's values and gradients, also where a formula has a corner; and that
// no op, kernel or row goes without its proofs.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <regex>
#include <set>

#include "autograd/ops.h"
#include "tensor/gpu.h"
#include "tests/text_of.h"
#include "train/op_table.h"
#include "train/safetensors.h"

namespace proxent {
namespace {

// Both sides compute in float64 but sum in another order and call other libraries. The error is
// measured against the tensor's largest finite element.
constexpr double kTolerance = 1e-13;

const std::filesystem::path kGoldenFolder =
    std::filesystem::path(PROXENT_SOURCE_DIR) / "tests" / "golden";

// make_golden.py's and make_loss_golden.py's.
const SafetensorsFile& goldens() {
  static const SafetensorsFile file = [] {
    SafetensorsFile both = read_safetensors(kGoldenFolder / "ops.safetensors");
    both.tensors.merge(read_safetensors(kGoldenFolder / "losses.safetensors").tensors);
    return both;
  }();
  return file;
}

// "relu@zero/x0" -> "relu@zero"
std::set<std::string> golden_cases() {
  std::set<std::string> cases;
  for (const auto& [key, tensor] : goldens().tensors) cases.insert(key.substr(0, key.find('/')));
  return cases;
}
std::string row_of(const std::string& golden_case) {
  return golden_case.substr(0, golden_case.find('@'));
}

const OpRow* find_row(const std::string& name) {
  const auto found = std::find_if(op_table().begin(), op_table().end(),
                                  [&](const OpRow& row) { return row.name == name; });
  return found == op_table().end() ? nullptr : &*found;
}

void check_equal(const std::string& what, const Tensor& got, const Tensor& expected,
                 std::int64_t terms) {
  INFO(what);
  REQUIRE(got.is_defined());
  REQUIRE(got.shape() == expected.shape());
  const auto values = got.to_vector<double>(), reference = expected.to_vector<double>();
  double largest = 1;
  for (double value : reference)
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < values.size(); ++i) {
    INFO("element ", i);
    if (std::isfinite(reference[i]))
      CHECK(std::abs(values[i] - reference[i]) <=
            kTolerance * largest *
                std::sqrt(static_cast<double>(std::max<std::int64_t>(1, terms))));
    else
      CHECK((values[i] == reference[i] || (std::isnan(values[i]) && std::isnan(reference[i]))));
  }
}

void check_case(const std::string& name, const OpRow& row, Device device) {
  const TensorMap& all = goldens().tensors;
  std::vector<Variable> leaves;
  while (all.contains(name + "/x" + std::to_string(leaves.size())))
    leaves.push_back(
        Variable::leaf(all.at(name + "/x" + std::to_string(leaves.size())).to(device)));
  Tape tape;
  const Variable y = row.call(leaves);
  check_equal(name + " y", y.value(), all.at(name + "/y"), row.terms);
  tape.backward(y, all.at(name + "/dy").to(device));
  for (std::size_t i = 0; i < leaves.size(); ++i)
    check_equal(detail::concat(name, " dx", i), leaves[i].gradient(),
                all.at(name + "/dx" + std::to_string(i)), row.terms);
}

// All first groups of `pattern` in the headers of a folder.
std::set<std::string> names_in_headers(const std::string& folder, const std::string& pattern) {
  std::set<std::string> names;
  const std::regex regex(pattern);
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(PROXENT_SOURCE_DIR) / folder)) {
    if (entry.path().extension() != ".h") continue;
    const std::string text = text_of(entry.path());
    for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it)
      names.insert((*it)[1]);
  }
  return names;
}

// True if a row is called `name`, or `name` and a variation: "conv2d_3x3".
bool has_row(const std::string& name) {
  return std::any_of(op_table().begin(), op_table().end(), [&](const OpRow& row) {
    return row.name == name || row.name.starts_with(name + "_");
  });
}
}  // namespace
}  // namespace proxent

TEST_SUITE("goldens") {
  using namespace proxent;

  TEST_CASE("values and gradients are PyTorch's") {
    CHECK(goldens().metadata.contains("torch"));
    CHECK(goldens().metadata.contains("seed"));
    for (const std::string& name : golden_cases()) {
      const OpRow* row = find_row(row_of(name));
      INFO(name, ": make_golden.py has a case that the table of ops does not know");
      REQUIRE(row != nullptr);
      check_case(name, *row, Device::cpu);
    }
  }

  TEST_CASE("values and gradients are PyTorch's on the GPU, or its emulation, too") {
    if (const std::string problem = gpu_report().problem; !problem.empty()) {
      MESSAGE("skipped: ", problem);
      return;
    }
    for (const std::string& name : golden_cases())
      check_case(name, *find_row(row_of(name)), Device::cuda);
  }

  TEST_CASE("every row has a golden, or none for a reason") {
    const std::set<std::string> cases = golden_cases();
    for (const OpRow& row : op_table()) {
      INFO(row.name);
      CHECK(cases.contains(row.name) == row.has_golden);
      if (cases.contains(row.name))
        for (std::size_t i = 0; i < row.inputs.size(); ++i)
          CHECK(goldens().tensors.at(detail::concat(row.name, "/x", i)).shape() == row.inputs[i]);
    }
  }

  TEST_CASE("batch norm leaves PyTorch's running statistics behind") {
    const TensorMap& all = goldens().tensors;
    const auto golden = [&](const std::string& key) { return all.at("batch_norm@running/" + key); };
    Tensor mean = Tensor::full({5}, DType::f64, 0.1), variance = Tensor::full({5}, DType::f64, 0.8);
    batch_norm(golden("x0"), golden("x1"), golden("x2"), mean, variance, BatchNormOptions{});
    check_equal("running mean", mean, golden("running_mean"), 24);
    check_equal("running variance", variance, golden("running_var"), 24);
  }

  TEST_CASE("every differentiable function has a row") {
    const auto names = names_in_headers("autograd", R"(\nVariable (\w+)\()");
    CHECK(names.size() > 20);
    const std::set<std::string> engine = {"record", "recompute"};  // no ops: tests/tape.cpp
    for (const std::string& name : names) {
      INFO(name, " is declared in autograd/ but has no row in train/op_table.cpp");
      CHECK((name.starts_with("operator") || engine.contains(name) || has_row(name)));
    }
  }

  TEST_CASE("every elementwise op has a row") {
    for (const std::string name : {
#define UNARY(name, ...) #name,
#define UNARY_P(name, ...) #name,
#define BINARY(name, ...) #name,
#include "tensor/pointwise.def"
         }) {
      INFO(name, " has a row in tensor/pointwise.def but none in train/op_table.cpp");
      CHECK(has_row(name));
    }
  }

  TEST_CASE("every kernel belongs to a row") {
    // Kernels whose op is not named as they are, and the row or test that runs them.
    const std::map<std::string, std::string> elsewhere = {
        {"fill", "tests/tensor.cpp"},
        {"convert", "tests/tensor.cpp"},
        {"copy", "tests/tensor.cpp"},
        {"copy_columns", "concatenate"},
        {"augment", "tests/augment.cpp"},
        {"arange", "tests/gpu.cpp"},
        {"batch_statistics", "batch_norm"},
        {"running_statistics", "batch_norm_eval"},
        {"top_k_update", "tests/topk.cpp"},
        {"similarities", "tests/similarity.cpp"},
        {"unit_rows", "tests/similarity.cpp"},
        {"start_ranks", "tests/retrieval.cpp"},
        {"count_nearer", "tests/retrieval.cpp"},
        {"score_ranks", "tests/retrieval.cpp"},
        {"mask_excluded", "tests/retrieval.cpp"},
        {"proxy_loss", "multi_proxy_entropy"},
        {"proxy_loss_backward", "multi_proxy_entropy"},
        {"update_proxy_usage", "tests/multi_proxy_entropy.cpp"},
        {"sgd_step", "tests/optimizer.cpp"},
        {"adam_step", "tests/optimizer.cpp"},
        {"rmsprop_step", "tests/optimizer.cpp"},
        {"sum_of_squares", "tests/optimizer.cpp"},
        {"move_towards", "tests/optimizer.cpp"},
        {"decide_step", "tests/optimizer.cpp"},
    };
    auto names = names_in_headers("tensor", R"(KERNEL\((\w+),)");
    names.erase("name");  // the macro's own parameter
    CHECK(names.size() > 20);
    for (const std::string& name : names) {
      const std::string op =
          std::regex_replace(name, std::regex("_(backward|dx|dw|dp)(_.*)?$"), "");
      const auto exception = elsewhere.find(name);
      INFO("kernel ", name, " has no row ", op, " in train/op_table.cpp");
      if (exception == elsewhere.end())
        CHECK(has_row(op));
      else if (exception->second.starts_with("tests/"))
        CHECK(
            std::filesystem::exists(std::filesystem::path(PROXENT_SOURCE_DIR) / exception->second));
      else
        CHECK(has_row(exception->second));
    }
  }
}
