#include "train/device.h"

#include <omp.h>

#include "data/parse_number.h"
#include "tensor/gpu.h"
#include "tensor/gpu_math.h"

namespace proxent {
namespace {

// The number behind "cuda" or "cuda:"; throws UsageError for anything else.
int gpu_index(std::string_view name) {
  if (name == "cuda") return 0;
  const std::optional<int> index =
      name.starts_with("cuda:") ? parse_number<int>(name.substr(5)) : std::nullopt;
  check<UsageError>(index && *index >= 0, "device: expected auto, cpu, cuda or cuda:N, got '", name,
                    "'");
  return *index;
}

Device choose_device(const std::string& name) {
  const GpuReport report = gpu_report();
  if (name == "cpu") return Device::cpu;
  // An emulated GPU is for tests, which ask for it.
  if (name == "auto" && (!report.problem.empty() || report.is_emulated)) return Device::cpu;
  const int index = name == "auto" ? 0 : gpu_index(name);
  check<CudaError>(report.problem.empty(), "device '", name, "': ", report.problem,
                   "; --device cpu runs everything without a GPU");
  select_gpu(index);
  return Device::cuda;
}

}  // namespace

void add_compute(Settings& settings, std::string* device, ThreadCount* threads) {
  settings.add("device", device, "where to compute: auto, cpu, cuda or cuda:N; auto: a GPU if any");
  settings.add("threads", threads, "of the computation; auto: one per core",
               {.range = between(1, 4096)});
}

Device set_up_compute(const std::string& device, ThreadCount threads) {
  if (threads) omp_set_num_threads(static_cast<int>(*threads));
  return choose_device(device);
}

DType image_dtype_of(std::string_view precision) {
  if (precision == "fp16") return DType::f16;
  return precision == "bf16" ? DType::bf16 : DType::f32;
}

DType set_up_precision(const std::string& precision, Device device, bool is_deterministic) {
  check<UsageError>(precision == "f32" || device == Device::cuda, "run.precision = \"", precision,
                    "\" needs a GPU; the processor computes in f32");
  GpuMath math = gpu_math();
  math.uses_tf32 = precision == "tf32";
  math.is_deterministic = is_deterministic;
  set_gpu_math(math);
  return image_dtype_of(precision);
}

std::string describe(Device device) {
  if (device == Device::cpu) return "cpu, " + counted(omp_get_max_threads(), "thread", "threads");
  return "cuda, " + gpu_report().gpus.at(static_cast<std::size_t>(selected_gpu())).name;
}

}  // namespace proxent
