#include <fmt/format.h>
#include <omp.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "data/image.h"
#include "tensor/check.h"
#include "tensor/gpu.h"
#include "tensor/onednn.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"
#include "train/process_memory.h"
#include "train/table.h"
#include "train/terminal.h"
#include "train/text.h"
#include "train/version.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

enum class Verdict { good, note };

struct Finding {
  std::string what, value;
  Verdict verdict = Verdict::good;
  std::string advice = {};
};

// "key : value" lines, as /proc writes them; empty if there is no such key.
std::string proc_value(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos || !line.starts_with(key)) continue;
    if (split(line.substr(0, colon), '\t')[0] != key) continue;
    const auto first = line.find_first_not_of(" \t", colon + 1);
    return first == std::string::npos ? "" : line.substr(first);
  }
  return {};
}

std::string vector_units() {
  std::string names;
#ifdef __x86_64__
  const auto add = [&](bool has, const char* name) {
    if (has) names += (names.empty() ? "" : " ") + std::string(name);
  };
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(__builtin_cpu_supports("avx512vnni"), "avx512vnni");
  add(proc_value("/proc/cpuinfo", "flags").find("amx_bf16") != std::string::npos, "amx_bf16");
#endif
  return names;
}

Finding processor() {
  const std::string model = proc_value("/proc/cpuinfo", "model name");
  const std::string units = vector_units();
  Finding finding{"processor",
                  (model.empty() ? "unknown" : model) + (units.empty() ? "" : "; " + units)};
  const bool is_slow = !units.empty() && units.find("avx2") == std::string::npos;
  if (is_slow) {
    finding.verdict = Verdict::note;
    finding.advice = "without AVX2 training is several times slower";
  }
  return finding;
}

Finding cores() {
  const int usable = omp_get_num_procs(),
            machine = static_cast<int>(std::thread::hardware_concurrency());
  const int threads = omp_get_max_threads();
  Finding finding{"cores", fmt::format("{} usable, {} threads for computation", usable, threads)};
  if (machine > usable) finding.value += fmt::format(", {} in the machine", machine);
  if (threads > usable) {
    finding.verdict = Verdict::note;
    finding.advice = "more threads than cores: set OMP_NUM_THREADS or --threads";
  }
  return finding;
}

Finding memory() {
  const std::int64_t free = available_bytes();
  Finding finding{"memory", human_bytes(machine_bytes()) + ", " + human_bytes(free) + " free"};
  if (free < (std::int64_t{2} << 30)) {
    finding.verdict = Verdict::note;
    finding.advice = "a ResNet-18 at 224 px and batch 32 needs about 2 GiB";
  }
  return finding;
}

Finding disk() {
  std::error_code error;
  const auto space = fs::space(".", error);
  if (error) return {"disk", "unknown: " + error.message(), Verdict::note, ""};
  const auto free = static_cast<std::int64_t>(space.available);
  Finding finding{"disk", human_bytes(free) + " free here"};
  if (free < (std::int64_t{1} << 30)) {
    finding.verdict = Verdict::note;
    finding.advice = "a run's checkpoints need 3 to 5 times the weights";
  }
  return finding;
}

Finding open_files() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return {"open files", fmt::format("{} allowed", limit.rlim_cur),
          limit.rlim_cur < 256 ? Verdict::note : Verdict::good,
          limit.rlim_cur < 256 ? "raise it with ulimit -n" : ""};
}

Finding onednn() {
  if (has_onednn()) return {"oneDNN", onednn_version()};
  return {"oneDNN", "not in this build", Verdict::note,
          "convolutions take reference loops, about 50 times slower; install libdnnl-dev and "
          "configure again"};
}

Finding gpu() {
  const GpuReport report = gpu_report();
  if (!report.is_built)
    return {"GPU", "not in this build", Verdict::note,
            "training runs on the processor; install the CUDA toolkit and configure again"};
  std::string value;
  for (const Gpu& gpu : report.gpus)
    value += fmt::format("{} ({}.{}, {}); ", gpu.name, gpu.major, gpu.minor,
                         human_bytes(gpu.memory_bytes));
  value += fmt::format("built for {}, CUDA {}", report.built_for,
                       cuda_version_text(report.runtime_version));
  if (report.driver_version > 0)
    value += ", driver knows CUDA " + cuda_version_text(report.driver_version);
  if (report.is_emulated) value = "emulated on the processor, for tests";
  return {"GPU", value, report.problem.empty() ? Verdict::good : Verdict::note,
          report.problem.empty() ? "" : report.problem + "; training runs on the processor"};
}

Finding jpeg() {
  const std::string name = jpeg_decoder_name();
  const bool is_stb = name.find("stb") != std::string::npos;
  return {"JPEG", name, is_stb ? Verdict::note : Verdict::good,
          is_stb ? "half as fast as libjpeg-turbo and with other pixels; install libjpeg-dev and "
                   "configure again"
                 : ""};
}

Finding fonts() {
  std::int64_t faces = 0;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(
           "/usr/share/fonts", fs::directory_options::skip_permission_denied, error)) {
    const std::string extension = entry.path().extension().string();
    faces += extension == ".ttf" || extension == ".otf";
  }
  if (faces >= 100) return {"fonts", fmt::format("{} faces for the glyphs data set", faces)};
  return {"fonts", fmt::format("{} faces", faces), Verdict::note,
          "the glyphs data set wants the packages that scripts/demo.sh installs"};
}

Finding fashion_mnist() {
  const bool is_there = fs::exists("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz");
  return {"fashion-mnist", is_there ? "found" : "not installed",
          is_there ? Verdict::good : Verdict::note,
          is_there ? "" : "apt install dataset-fashion-mnist"};
}

std::vector<Finding> examine() {
  return {processor(), cores(), memory(), disk(),  open_files(),
          onednn(),    gpu(),   jpeg(),   fonts(), fashion_mnist()};
}

std::string mark(Verdict verdict) {
  return verdict == Verdict::good ? green("ok") : yellow("note");
}

}  // namespace

int doctor_command(const Arguments& arguments) {
  bool is_json = false;
  CommandLine line({.name = "doctor",
                    .usage = "[--json]",
                    .summary = "what this machine and this binary can do",
                    .about =
                        "Looks at processor, memory, disk, libraries, fonts and data sets, and "
                        "says of each whether it is in order and what to do if not.",
                    .examples = {{"proxent doctor", "one line per finding"}},
                    .output = "A table on stdout."});
  add_json(line.settings(), &is_json);
  if (!line.parse(arguments)) return kDone;

  const std::vector<Finding> findings = examine();
  if (is_json) {
    Json json = version_json();
    for (const Finding& finding : findings)
      json["findings"].push_back(Json::object({{"what", finding.what},
                                               {"value", finding.value},
                                               {"verdict", without_codes(mark(finding.verdict))},
                                               {"advice", finding.advice}}));
    print_out(json.text(2) + "\n");
    return kDone;
  }
  Table table("proxent doctor " + version_text());
  for (const Finding& finding : findings)
    table.row({finding.what, mark(finding.verdict),
               finding.value + (finding.advice.empty() ? "" : "\n" + finding.advice)});
  print_out(table.text(std::min(terminal_on(Stream::out).columns(), 110)));
  return kDone;
}

}  // namespace proxent
