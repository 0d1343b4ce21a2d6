#include "layers/resnet.h"
#include "tensor/check.h"
#include "train/bench_knn.h"
#include "train/bench_layers.h"
#include "train/bench_loader.h"
#include "train/bench_loss.h"
#include "train/bench_step.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/device.h"
#include "train/exit_code.h"
#include "train/terminal.h"
#include "train/text.h"

namespace proxent {
namespace {

int bench_step_command(const Arguments& arguments) {
  BenchStepOptions options;
  bool is_json = false;
  std::string device = "auto", cuda_graphs = "on", profile_steps;
  ThreadCount threads;
  CommandLine line(
      {.name = "bench step",
       .usage = "[flags]",
       .summary = "time a whole training step of a ResNet",
       .about = "Forward, loss, backward and optimizer on one batch of random pixels: the work of "
                "bench/torch_step.py in PyTorch. bench/compare_step.py runs both in turn, from "
                "the same weights and batch, and prints losses and gradient norms beside the "
                "times.",
       .examples = {{"proxent bench step --arch resnet18 --size 64 --batch 64", "the small case"},
                    {"proxent bench step --arch resnet50 --size 224 --batch 8 --json",
                     "one JSON object on stdout"},
                    {"proxent bench step --arch resnet50 --size 224 --batch 128 --loss mpl "
                     "--classes 11318 --optim adamw --precision bf16 --device cuda",
                     "a step of retrieval training on a GPU"}},
       .output = {}});
  line.settings().add("arch", &options.arch, "network", {.choices = resnet_names()});
  line.settings().add("size", &options.size, "image height and width", {.range = at_least(1)});
  line.settings().add("batch", &options.batch, "pictures per step", {.range = at_least(1)});
  line.settings().add("loss", &options.loss, "of a linear classifier, or multi-proxy entropy",
                      {.choices = {"cross-entropy", "mpl"}});
  line.settings().add("classes", &options.classes, "of the loss", {.range = at_least(1)});
  line.settings().add("proxies", &options.proxies, "of mpl, per class", {.range = at_least(1)});
  line.settings().add("dim", &options.dim, "of mpl: size of the embedding", {.range = at_least(1)});
  line.settings().add("optim", &options.optim, "optimizer", {.choices = {"sgd", "adamw"}});
  line.settings().add("precision", &options.precision, "of the backbone; all but f32 on a GPU",
                      {.choices = {"f32", "tf32", "bf16", "fp16"}});
  line.settings().add("recompute", &options.recompute,
                      "computed again in backward instead of kept, as train's",
                      {.choices = {"none", "relu", "block"}});
  line.settings().add("deterministic", &options.is_deterministic,
                      "on a GPU: only engines of the libraries that repeat their bits");
  line.settings().add("cuda_graphs", &cuda_graphs,
                      "on a GPU: record the work of a step once and repeat it",
                      {.choices = {"on", "off"}});
  line.settings().add("steps", &options.steps, "timed steps", {.range = at_least(1)});
  line.settings().add("warm_up", &options.warm_up, "steps before them", {.range = at_least(0)});
  line.settings().add("start_file", &options.start_file,
                      "write weights and batch as they are before the first step",
                      {.value = "FILE"});
  add_profile_steps(line.settings(), &profile_steps);
  add_compute(line.settings(), &device, &threads);
  add_json(line.settings(), &is_json);
  if (!line.parse(arguments)) return kDone;
  options.device = set_up_compute(device, threads);
  options.uses_graph = cuda_graphs == "on";
  options.profile_steps = step_range(profile_steps);
  const BenchStepResult result = bench_step(options);
  print_out((is_json ? to_json(options, result) : to_text(options, result)) + "\n");
  return kDone;
}

int bench_layers_command(const Arguments& arguments) {
  BenchLayersOptions options;
  bool is_json = false;
  std::string device = "auto";
  ThreadCount threads;
  CommandLine line(
      {.name = "bench layers",
       .usage = "[flags]",
       .summary = "time each layer of a ResNet beside what the device could do",
       .about =
           "Every distinct convolution (forward, gradient of the image, gradient of the weights), "
           "batch norm and pool (forward, backward) and the embedding's linear layer (as a "
           "convolution, in f32 where the rest is of two bytes) are timed alone on random numbers. "
           "A layer must move its bytes and do its arithmetic, so it cannot take less than the "
           "larger of bytes / bandwidth and FLOP / peak: the roofline. The last column is that "
           "time over the measured one, and which of the two it is. Both ceilings are measured "
           "first, in the same precision, by a large copy and a large matrix product.\n\n"
           "Where to look: the last rows say what a step of all layers costs in each direction; "
           "calls x ms is a layer's part of it; a small share in a large part is worth an hour. "
           "Above 100% the inputs came from a cache, which the GPU's are cleared of and the "
           "processor's are not. Bytes count each operand once per pass over the tensors; a batch "
           "norm takes two passes, because all of its input is needed before any of its output.",
       .examples = {{"proxent bench layers --device cuda --precision bf16", "ResNet-50 at 224 px"},
                    {"proxent bench layers --device cuda --precision bf16 --engines 10",
                     "with the fastest of ten engines for each, not the libraries' first choice"},
                    {"proxent bench layers --arch resnet18 --batch 8 --rounds 3",
                     "a few seconds on a processor"}},
       .output = "A table on stdout; with --json one object with the same numbers."});
  Settings& settings = line.settings();
  settings.add("arch", &options.arch, "network", {.choices = resnet_names()});
  settings.add("size", &options.size, "image height and width", {.range = at_least(1)});
  settings.add("batch", &options.batch, "pictures per step", {.range = at_least(1)});
  settings.add("dim", &options.dim, "size of the embedding", {.range = at_least(1)});
  settings.add("precision", &options.precision, "of images and weights; all but f32 on a GPU",
               {.choices = {"f32", "tf32", "bf16", "fp16"}});
  settings.add("rounds", &options.rounds, "timed calls of each, of which the median counts",
               {.range = between(1, 10000)});
  settings.add("engines", &options.engines,
               "on a GPU: try so many engines for each size and take the fastest; 0: the "
               "libraries' own choice",
               {.range = between(0, 100)});
  add_compute(settings, &device, &threads);
  add_json(settings, &is_json);
  if (!line.parse(arguments)) return kDone;
  options.device = set_up_compute(device, threads);
  const BenchLayersResult result = bench_layers(options);
  print_out(is_json ? to_json(options, result) + "\n"
                    : to_text(options, result, terminal_on(Stream::out).columns()));
  return kDone;
}

int bench_loss_command(const Arguments& arguments) {
  BenchLossOptions options;
  bool is_json = false;
  std::string device = "auto";
  ThreadCount threads;
  CommandLine line(
      {.name = "bench loss",
       .usage = "[flags]",
       .summary = "time the multi-proxy entropy loss, fused beside composed",
       .about = "Forward and backward of both forms in turns, on random embeddings and "
                "proxies; tells how far their gradients are apart.",
       .examples = {{"proxent bench loss", "the size of Stanford Online Products"},
                    {"proxent bench loss --classes 100 --proxies 10", "the size of CUB-200-2011"}},
       .output = {}});
  line.settings().add("batch", &options.batch, "embeddings per step", {.range = at_least(1)});
  line.settings().add("classes", &options.classes, "C", {.range = at_least(1)});
  line.settings().add("proxies", &options.proxies, "K per class", {.range = at_least(1)});
  line.settings().add("dim", &options.dim, "size of the embedding", {.range = at_least(1)});
  line.settings().add("rounds", &options.rounds, "timed turns of each form",
                      {.range = at_least(1)});
  line.settings().add("start_file", &options.start_file,
                      "write embeddings, proxies and labels there, for bench/compare_kernels.py",
                      {.value = "FILE"});
  add_compute(line.settings(), &device, &threads);
  add_json(line.settings(), &is_json);
  if (!line.parse(arguments)) return kDone;
  options.device = set_up_compute(device, threads);
  const BenchLossResult result = bench_loss(options);
  print_out((is_json ? to_json(options, result) : to_text(options, result)) + "\n");
  return kDone;
}

int bench_knn_command(const Arguments& arguments) {
  BenchKnnOptions options;
  bool is_json = false;
  std::string device = "auto";
  ThreadCount threads;
  CommandLine line(
      {.name = "bench knn",
       .usage = "[flags]",
       .summary = "exact search of the nearest neighbours, as eval does it",
       .about = "Ranks made-up embeddings against each other: Recall@K, MAP@R and R-precision, "
                "with the time and memory that took. The sizes are those of the test half of "
                "Stanford Online Products.",
       .examples = {{"proxent bench knn --rows 5924 --classes 100", "the size of CUB-200-2011"},
                    {"bench/numpy_knn.py", "the same work in NumPy"}},
       .output = "Time, speed, peak memory and metrics on stdout; with --json one object."});
  Settings& settings = line.settings();
  settings.add("rows", &options.rows, "embeddings", {.range = at_least(1)});
  settings.add("dim", &options.dim, "features of each", {.range = at_least(1)});
  settings.add("classes", &options.classes, "classes, all as large", {.range = at_least(1)});
  settings.add("recall_at", &options.recall_at, "the K of Recall@K",
               {.value = "K,K,...", .range = at_least(1)});
  settings.add("repeats", &options.repeats, "the fastest of so many counts",
               {.range = at_least(1)});
  add_compute(settings, &device, &threads);
  add_json(settings, &is_json);
  if (!line.parse(arguments)) return kDone;
  options.device = set_up_compute(device, threads);
  const BenchKnnResult result = bench_knn(options);
  print_out((is_json ? to_json(options, result) : to_text(options, result)) + "\n");
  return kDone;
}

int bench_loader_command(const Arguments& arguments) {
  Config config;
  BenchLoaderOptions options;
  bool is_json = false;
  CommandLine line({.name = "bench loader",
                    .usage = "[flags]",
                    .summary = "time reading, decoding and transforming pictures",
                    .about = "Takes training batches from the loader as fast as they come: what "
                             "the data can feed when the network costs nothing.",
                    .examples = {{"proxent bench loader --data pictures --workers 2",
                                  "your own pictures with two threads"}},
                    .output = {}});
  line.settings().add("batches", &options.batches, "timed batches", {.range = at_least(1)});
  line.settings().add("warm_up", &options.warm_up, "batches before them", {.range = at_least(0)});
  add_json(line.settings(), &is_json);
  line.add_config(config, {.sections = {"data", "batch"}});
  if (!line.parse(arguments)) return kDone;
  const BenchLoaderResult result = bench_loader(config, options);
  print_out((is_json ? to_json(result) : to_text(result)) + "\n");
  return kDone;
}

const std::vector<Command>& benches() {
  static const std::vector<Command> all = {
      {"step", "a training step: forward, loss, backward, optimizer", bench_step_command},
      {"layers", "each layer of a ResNet beside what the device could do", bench_layers_command},
      {"loss", "the multi-proxy entropy loss, fused beside composed", bench_loss_command},
      {"knn", "exact search of the nearest neighbours, as eval does it", bench_knn_command},
      {"loader", "reading, decoding and transforming pictures", bench_loader_command},
  };
  return all;
}

}  // namespace

int bench_command(const Arguments& arguments) {
  std::vector<std::string> names;
  std::string page = bold("proxent bench") + ": time the parts of a run\n\n" + bold("usage") +
                     ": proxent bench <what> [flags]\n\n";
  for (const Command& bench : benches()) {
    if (!arguments.empty() && bench.name == arguments[0])
      return bench.run({arguments.begin() + 1, arguments.end()});
    names.emplace_back(bench.name);
    page += "  " + padded(bench.name, 10) + std::string(bench.summary) + "\n";
  }
  page += "\nEach takes --json for one JSON object on stdout, and --help.\n";
  const bool wants_help = !arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h");
  check<UsageError>(arguments.empty() || wants_help, "bench: expected ", one_of(names), ", got '",
                    arguments.empty() ? "" : arguments[0], "'.",
                    suggestion(arguments.empty() ? "" : arguments[0], names));
  print_out(page);
  return wants_help ? kDone : kUsageError;
}

}  // namespace proxent
