#include "train/weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "train/checksum.h"
#include "train/input_file.h"
#include "train/pth.h"

namespace proxent {
namespace {

constexpr std::array<std::string_view, 5> kPrefixes{"module.", "model.", "backbone.", "encoder.",
                                                    "_orig_mod."};
constexpr std::string_view kCounter = "num_batches_tracked";

// A parameter or buffer of a tree, by the name that files give it.
struct Target {
  std::string name;
  Tensor value;  // shares the module's memory
};

std::vector<Target> targets_of(const Modules& trees) {
  std::vector<Target> targets;
  for (Module* tree : trees) {
    for (const auto& [path, parameter] : tree->parameters())
      targets.push_back({path, parameter->value()});
    for (const auto& [path, buffer] : tree->buffers()) targets.push_back({path, buffer->value()});
  }
  return targets;
}

bool is_below_any(std::string_view name, const std::vector<std::string>& modules) {
  return std::any_of(modules.begin(), modules.end(),
                     [&](const std::string& module) { return is_below(name, module); });
}

// (n, a, b) -> (n, b, a) of the elements, under the given shape.
Tensor swap_inner(const Tensor& x, std::int64_t a, std::int64_t b, const Shape& shape) {
  Tensor y(shape, x.dtype());
  visit_any(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = x.data<T>();
    T* out = y.data<T>();
    for (std::int64_t n = 0; n < shape[0]; ++n, in += a * b)
      for (std::int64_t i = 0; i < b; ++i)
        for (std::int64_t j = 0; j < a; ++j)  // NOLINTNEXTLINE(clang-analyzer-*): x is defined
          *out++ = in[j * b + i];
  });
  return y;
}

Shape file_shape(const Shape& shape) {
  return shape.rank() == 4 ? Shape{shape[0], shape[3], shape[1], shape[2]} : shape;
}
// A copy in the other layout; tensors of other ranks have one layout and are copied as they are.
Tensor to_file_layout(const Tensor& x) {
  const Shape& s = x.shape();
  return s.rank() == 4 ? swap_inner(x.to(Device::cpu), s[1] * s[2], s[3], file_shape(s))
                       : x.clone();
}
Tensor to_memory_layout(const Tensor& x) {
  const Shape& s = x.shape();
  return s.rank() == 4 ? swap_inner(x, s[1], s[2] * s[3], {s[0], s[2], s[3], s[1]}) : x;
}

bool is_number_kind_equal(DType a, DType b) {
  const auto is_fraction = [](DType dtype) { return is_float(dtype) || is_half(dtype); };
  return is_fraction(a) == is_fraction(b);
}

std::int64_t count_non_finite(const Tensor& x) {
  if (!is_float(x.dtype()) && !is_half(x.dtype())) return 0;
  const std::vector<double> values = x.to_vector<double>();
  return std::count_if(values.begin(), values.end(), [](double v) { return !std::isfinite(v); });
}

// The file's tensors under the tree's names; what no prefix makes known keeps its own name.
std::map<std::string, std::string> file_names(const TensorMap& tensors,
                                              const std::vector<Target>& targets,
                                              const LoadOptions& options) {
  const auto is_known = [&](std::string_view name) {
    return is_below_any(name, options.may_be_unused) ||
           std::any_of(targets.begin(), targets.end(),
                       [&](const Target& target) { return target.name == name; });
  };
  std::map<std::string, std::string> names;  // tree's -> file's
  for (const auto& [file_name, tensor] : tensors) {
    std::string_view name = file_name;
    for (bool is_shorter = true; is_shorter && !is_known(name);) {
      is_shorter = false;
      for (const std::string_view prefix : kPrefixes)
        if (!is_shorter && name.starts_with(prefix)) {
          name.remove_prefix(prefix.size());
          is_shorter = true;
        }
    }
    const auto [other, is_new] = names.emplace(is_known(name) ? name : file_name, file_name);
    check<DataError>(is_new, options.origin, ": '", other->second, "' and '", file_name,
                     "' are both '", name, "'; keep one of them");
  }
  return names;
}

// The tensor of a file in the shape that the target has there; (1, C) of a vector, as an early
// BN-Inception has its batch norms, is one too. Undefined if it does not fit.
Tensor fitted(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const bool is_row = shape.rank() == 1 && x.shape() == Shape{1, shape[0]};
  return is_row ? x.reshape(shape) : Tensor();
}

std::string described(const Tensor& x) { return detail::concat(x.shape(), " ", x.dtype()); }

// Fits the file to the tree on paper: the report, and what would be copied where.
struct Plan {
  LoadReport report;
  std::vector<std::pair<Target, Tensor>> copies;
};

Plan plan_loading(const std::vector<Target>& targets, const TensorMap& tensors,
                  const LoadOptions& options) {
  Plan plan;
  plan.report.origin = options.origin;
  auto names = file_names(tensors, targets, options);
  for (const Target& target : targets) {
    const auto found = names.find(target.name);
    if (target.name.ends_with(kCounter)) continue;
    ++plan.report.expected;
    if (found == names.end()) {
      plan.report.missing.push_back(target.name);
      continue;
    }
    const Tensor& tensor = tensors.at(found->second);
    names.erase(found);
    const Tensor fits = fitted(tensor, file_shape(target.value.shape()));
    if (fits.is_defined() && is_number_kind_equal(tensor.dtype(), target.value.dtype()))
      plan.copies.push_back({target, fits});
    else
      plan.report.misshaped.push_back(
          {target.name, detail::concat(file_shape(target.value.shape()), " ", target.value.dtype()),
           described(tensor)});
  }
  for (const auto& [name, file_name] : names) {
    if (name.ends_with(kCounter)) continue;
    (is_below_any(name, options.may_be_unused) ? plan.report.unused : plan.report.unexpected)
        .push_back(file_name);
  }
  plan.report.loaded = static_cast<std::int64_t>(plan.copies.size());
  return plan;
}

void append_list(std::string& text, std::string_view title, const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  text += detail::concat("\n  ", title, " (", lines.size(), "):");
  for (const std::string& line : lines) text += "\n    " + line;
}

}  // namespace

std::vector<std::string> LoadReport::not_loaded() const {
  std::vector<std::string> names = missing;
  for (const Mismatch& mismatch : misshaped) names.push_back(mismatch.name);
  return names;
}

std::string LoadReport::text() const {
  std::string text = detail::concat(origin, ": ", loaded, " of ", expected, " tensors loaded");
  std::vector<std::string> mismatches;
  for (const Mismatch& mismatch : misshaped)
    mismatches.push_back(mismatch.name + ": expected " + mismatch.expected + ", the file has " +
                         mismatch.found);
  append_list(text, "missing in the file", missing);
  append_list(text, "unexpected in the file", unexpected);
  append_list(text, "mis-shaped", mismatches);
  append_list(text, "not used", unused);
  return text;
}

LoadReport load_weights(const Modules& trees, const TensorMap& tensors,
                        const LoadOptions& options) {
  const Plan plan = plan_loading(targets_of(trees), tensors, options);
  const LoadReport& report = plan.report;
  const bool may_miss = std::all_of(
      report.missing.begin(), report.missing.end(),
      [&](const std::string& name) { return is_below_any(name, options.may_be_missing); });
  check<DataError>(
      options.is_partial || (may_miss && report.unexpected.empty() && report.misshaped.empty()),
      "the weights do not fit the model, nothing was changed; choose another --arch or file, or "
      "load what fits with --partial\n",
      report.text());
  check<DataError>(report.loaded > 0 || report.expected == 0,
                   "no tensor of the file fits the model; is it of another architecture?\n",
                   report.text());
  std::vector<std::pair<Target, Tensor>> ready;
  for (const auto& [target, tensor] : plan.copies) {
    const std::int64_t bad = count_non_finite(tensor);
    check<DataError>(bad == 0, options.origin, ": '", target.name, "' has ", bad,
                     " values that are not finite");
    ready.push_back({target, to_memory_layout(tensor.to(target.value.dtype()))});
  }
  for (auto& [target, tensor] : ready) target.value.copy_from(tensor.to(target.value.device()));
  return report;
}

LoadReport load_weights(const Modules& trees, const std::filesystem::path& path,
                        LoadOptions options) {
  options.origin = path.string();
  std::array<char, 4> start{};
  const InputFile file(path);
  file.read(start.data(), 0, std::min(file.size(), std::ssize(start)));
  if (is_pth({start.data(), start.size()})) return load_weights(trees, read_pth(path), options);
  SafetensorsFile read = read_safetensors(path, {.accept_trailing_bytes = true});
  take_checksum(read, path.string());
  LoadReport report = load_weights(trees, read.tensors, options);
  report.trailing_bytes = read.trailing_bytes;
  return report;
}

TensorMap weights_of(const Modules& trees) {
  constexpr std::string_view kMean = "running_mean";
  TensorMap tensors;
  for (const Target& target : targets_of(trees)) {
    check(tensors.emplace(target.name, to_file_layout(target.value)).second,
          "weights: two tensors are named '", target.name, "'");
    if (target.name.ends_with(kMean)) {
      const std::string path = target.name.substr(0, target.name.size() - kMean.size());
      tensors.emplace(path + std::string(kCounter), Tensor::zeros({}, DType::i64));
    }
  }
  return tensors;
}

}  // namespace proxent
