#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "train/command.h"
#include "train/command_line.h"
#include "train/device.h"
#include "train/diagnostics.h"
#include "train/evaluation.h"
#include "train/exit_code.h"
#include "train/labelled_embeddings.h"
#include "train/log.h"
#include "train/metrics_text.h"
#include "train/progress.h"
#include "train/retrieval_grid.h"
#include "train/saved_model.h"
#include "train/task.h"

namespace proxent {
namespace {

struct EvalFlags {
  std::string source;  // run folder, .safetensors or .npy
  std::string labels, grid, distance = "cosine", split = "test";
  std::vector<std::int64_t> recall_at;
  std::string device = "auto";
  ThreadCount threads;
  bool is_json = false, is_pixels = false, wants_explanation = false;

  bool is_file_of_embeddings() const { return source.ends_with(".npy"); }
};

void add_flags(CommandLine& line, EvalFlags& flags) {
  line.positional("SOURCE", &flags.source,
                  "run folder, .safetensors file of a run, or .npy file of embeddings", false);
  Settings& settings = line.settings();
  settings.add("split", &flags.split,
               "which pictures: test and validation are the run's unseen classes; all: a single "
               "folder or list undivided",
               {.choices = {"test", "validation", "train", "all"}});
  settings.add("recall_at", &flags.recall_at, "the K of Recall@K; without it the run's",
               {.value = "K,K,...", .range = at_least(1)});
  settings.add("distance", &flags.distance, "what is near", {.choices = {"cosine", "euclidean"}});
  settings.add("labels", &flags.labels,
               "table for SOURCE.npy with a column label; without it SOURCE.csv",
               {.value = "FILE"});
  settings.add("grid", &flags.grid, "write a picture of queries and their nearest pictures",
               {.value = "FILE.png"});
  settings.add("pixels", &flags.is_pixels, "judge plain pixels instead of a network");
  settings.add("explain", &flags.wants_explanation, "say what every number means, and stop");
  add_compute(settings, &flags.device, &flags.threads);
  settings.add("json", &flags.is_json, "print one JSON object on stdout");
}

// What is judged, and how it came about.
struct Subject {
  Embeddings embeddings;
  RetrievalOptions options;
  Dataset dataset;                     // empty for a file of embeddings
  std::optional<Selection> selection;  // of the weights, where there are any
};

Subject embedded_pictures(const EvalFlags& flags, const Config& config,
                          const std::optional<SavedModel>& saved, Log& log) {
  const Device device = set_up_compute(flags.device, flags.threads);
  Subject subject{.dataset = open_split(config, flags.split)};
  ProgressView view(log, progress_mode(config.log.progress, log.terminal()));
  const EmbedOptions options{.loader = loader_options_of(config, eval_transform_of(config.data)),
                             .batch = config.batch.pictures(),
                             .device = device,
                             .on_progress = [&](std::int64_t done, std::int64_t all) {
                               view.doing(detail::concat("embedding ", done, "/", all));
                             }};
  log.info("evaluating " + subject.dataset.describe() +
           (saved ? " with " + saved->weights.string() : ", plain pixels"));
  if (saved) {
    subject.selection = saved->selection;
    const auto model = load_saved_model(*saved, config.model, device);
    subject.embeddings = embed(
        subject.dataset, [&](const Variable& images) { return (*model)(images); }, options);
  } else {
    subject.embeddings = embed_pixels(subject.dataset, options);
  }
  view.finish();
  for (const BadImage& bad : subject.embeddings.bad_images) log.warning("left out: " + bad.reason);
  subject.options = retrieval_options(subject.dataset, subject.embeddings);
  return subject;
}

Subject embeddings_of_file(const EvalFlags& flags) {
  const Device device = set_up_compute(flags.device, flags.threads);
  LabelledEmbeddings read = read_labelled_embeddings(flags.source, flags.labels);
  read.embeddings.values = read.embeddings.values.to(device);
  return {.embeddings = std::move(read.embeddings), .options = std::move(read.options)};
}

std::string diagnostics_text(const Subject& subject, const EmbeddingDiagnostics& diagnostics) {
  const std::int64_t dim = subject.embeddings.values.dim(1);
  return fmt::format(
      "{} features: effective rank {:.1f}, standard deviation {:.4f} ({:.4f} if spread evenly), "
      "distances intra {:.3f} inter {:.3f} intra/inter {:.3f}",
      dim, diagnostics.effective_rank, diagnostics.standard_deviation,
      1 / std::sqrt(static_cast<double>(dim)), diagnostics.intra, diagnostics.inter,
      diagnostics.density());
}

Json record_of(const EvalFlags& flags, const Subject& subject, const RetrievalResult& result,
               const EmbeddingDiagnostics& diagnostics) {
  Json record = to_json(result);
  Json ties = Json::object();
  for (const RecallAtK& at : result.recall_at) ties["R@" + std::to_string(at.k)] = at.ties;
  record["ties"] = ties;
  record["source"] = flags.is_pixels ? "pixels" : flags.source;
  record["data"] = subject.dataset.is_empty() ? Json() : Json(subject.dataset.describe());
  record["split"] = subject.dataset.is_empty() ? Json() : Json(flags.split);
  record["selection"] = subject.selection ? Json(name_of(*subject.selection)) : Json();
  record["distance"] = flags.distance;
  record["left_out"] = std::ssize(subject.embeddings.bad_images);
  record["features"] = subject.embeddings.values.dim(1);
  record["effective_rank"] = diagnostics.effective_rank;
  record["standard_deviation"] = diagnostics.standard_deviation;
  record["intra"] = diagnostics.intra;
  record["inter"] = diagnostics.inter;
  record["seconds"] = subject.embeddings.seconds;
  record["seconds_waited"] = subject.embeddings.seconds_waited;
  return record;
}

void check_flags(const EvalFlags& flags) {
  check<UsageError>(flags.source.empty() == flags.is_pixels,
                    "eval: name a run folder, a .safetensors or a .npy file, or give --pixels "
                    "(one of them)");
  check<UsageError>(flags.labels.empty() || flags.is_file_of_embeddings(),
                    "eval: --labels belongs to a .npy file");
  check<UsageError>(flags.grid.empty() || !flags.is_file_of_embeddings(),
                    "eval: --grid needs the pictures, a .npy file holds none");
}

int evaluate_and_report(const EvalFlags& flags, const Config& config,
                        const std::optional<SavedModel>& saved) {
  Log log(terminal_on(Stream::error, config.log.color), config.log.quiet);
  Subject subject = flags.is_file_of_embeddings() ? embeddings_of_file(flags)
                                                  : embedded_pictures(flags, config, saved, log);
  subject.options.recall_at = flags.recall_at.empty() ? recall_ks(config) : flags.recall_at;
  subject.options.distance = distance_from_name(flags.distance);
  const Embeddings& embeddings = subject.embeddings;
  const RetrievalResult result =
      evaluate_retrieval(embeddings.values, embeddings.labels, subject.options);
  // Pixels have too many features for a spectrum, and their number of directions says little.
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();  // null in JSON
  const EmbeddingDiagnostics diagnostics =
      flags.is_pixels ? EmbeddingDiagnostics{kNone, kNone, kNone, kNone}
                      : diagnose_embeddings(embeddings.values, embeddings.labels);

  std::string text = metrics_text(result, subject.selection) + "\n" + counts_text(result) + "\n";
  if (!flags.is_pixels) text += diagnostics_text(subject, diagnostics) + "\n";
  if (flags.is_json) text = record_of(flags, subject, result, diagnostics).text() + "\n";
  print_out(text);
  if (!flags.grid.empty()) {
    write_png(flags.grid, retrieval_grid(subject.dataset, embeddings, subject.options, result));
    log.info("wrote " + flags.grid);
  }
  return kDone;
}

}  // namespace

int eval_command(const Arguments& arguments) {
  Config config;
  EvalFlags flags;
  CommandLine line(
      {.name = "eval",
       .usage = "SOURCE [flags]",
       .summary = "Recall@K, MAP@R and R-precision of a checkpoint or of embeddings",
       .about = "Measures exactly how well pictures find others of their class. A run is judged "
                "on its own data, settings and unseen classes unless flags say otherwise; the "
                "result carries how its weights were chosen.",
       .examples = {{"proxent eval runs/2026-11-23_cub", "the chosen weights of a run"},
                    {"proxent eval runs/2026-11-23_cub/ckpt/last.safetensors --recall-at 1,10,100",
                     "its last weights, at other K"},
                    {"proxent eval runs/2026-11-23_cub --grid found.png",
                     "and a picture of what was found"},
                    {"proxent eval --pixels --dataset fashion-mnist --image-size 28 --resize 0",
                     "the floor that a network must beat"},
                    {"proxent eval embeddings.npy --labels labels.csv", "embeddings from anywhere"},
                    {"proxent eval --explain", "what the numbers mean"}},
       .output = "The metrics on stdout, in percent; with --json one object with shares."});
  add_flags(line, flags);
  line.add_config(config, {.sections = {"data", "log"}});
  if (!line.read(arguments)) return kDone;
  std::optional<SavedModel> saved;
  if (!flags.source.empty() && !flags.is_file_of_embeddings())
    saved = find_saved_model(flags.source);
  if (!(saved ? line.apply(saved->info.config, saved->weights.string()) : line.apply()))
    return kDone;
  if (flags.wants_explanation) {
    print_out(metrics_explanation());
    return kDone;
  }
  check_flags(flags);
  return evaluate_and_report(flags, config, saved);
}

}  // namespace proxent
