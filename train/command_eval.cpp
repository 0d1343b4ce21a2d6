#include <algorithm>
#include <iterator>

#include "train/atomic_file.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/device.h"
#include "train/evaluation_report.h"
#include "train/exit_code.h"
#include "train/labelled_embeddings.h"
#include "train/log.h"
#include "train/metrics_text.h"
#include "train/progress_view.h"
#include "train/provenance.h"
#include "train/query_expansion.h"
#include "train/reranking.h"
#include "train/retrieval_grid.h"
#include "train/saved_model.h"
#include "train/task.h"
#include "train/terminal.h"

namespace proxent {
namespace {

struct EvalFlags {
  std::string source;  // run folder, .safetensors or .npy
  std::string labels, grid, distance = "cosine", split = "test";
  std::vector<std::int64_t> recall_at;
  std::vector<std::string> metrics;
  std::string query_expansion, rerank;  // "10,3", "20,6,0.3"
  std::string few_shot;                 // "5-way"
  std::vector<std::int64_t> shots = {1, 5};
  std::int64_t queries = 15, tasks = 600, seed = 1;
  std::string device = "auto";
  ThreadCount threads;
  bool is_json = false, is_pixels = false, is_flipped = false, wants_explanation = false;

  bool is_file_of_embeddings() const { return source.ends_with(".npy"); }
};

void add_flags(CommandLine& line, EvalFlags& flags) {
  line.positional("SOURCE", &flags.source,
                  "run folder, .safetensors file of a run, or .npy file of embeddings", false);
  Settings& settings = line.settings();
  settings.add(
      "split", &flags.split,
      "which pictures: test and validation are the run's unseen classes; train: those that "
      "its proxies stand for, so that their use is told; all: every part, classes of one name "
      "as one",
      {.choices = {"test", "validation", "train", "all"}});
  settings.add("recall_at", &flags.recall_at, "the K of Recall@K; without it the run's",
               {.value = "K,K,...", .range = at_least(1)});
  settings.add("metrics", &flags.metrics, std::string(kMetricNames) + "; without it the run's",
               {.value = "LIST"});
  settings.add("distance", &flags.distance, "what is near", {.choices = {"cosine", "euclidean"}});
  settings.add("labels", &flags.labels,
               "table for SOURCE.npy with a column label; without it SOURCE.csv",
               {.value = "FILE"});
  settings.add("grid", &flags.grid, "write a picture of queries and their nearest pictures",
               {.value = "FILE.png"});
  settings.add("flip", &flags.is_flipped,
               "beside the plain scores, those of the mean with the mirrored picture");
  settings.add(
      "query_expansion", &flags.query_expansion,
      "beside them, those of queries that take in their N nearest, weighed by cosine^ALPHA",
      {.value = "N[,ALPHA]"});
  settings.add("rerank", &flags.rerank,
               "beside them, those after k-reciprocal re-ranking of the first CANDIDATES (200)",
               {.value = "K1,K2,LAMBDA[,CANDIDATES]", .without_value = "20,6,0.3"});
  settings.add("few_shot", &flags.few_shot,
               "classify in tasks of so many classes instead of ranking: 5-way", {.value = "WAY"});
  settings.add("shots", &flags.shots, "few-shot: labelled pictures of each class",
               {.value = "N,N,...", .range = at_least(1)});
  settings.add("queries", &flags.queries, "few-shot: pictures of each class to recognise",
               {.range = at_least(1)});
  settings.add("tasks", &flags.tasks, "few-shot: tasks to average over", {.range = at_least(1)});
  settings.add("seed", &flags.seed, "few-shot: which tasks", {.range = at_least(0)});
  settings.add("pixels", &flags.is_pixels, "judge plain pixels instead of a network");
  settings.add("explain", &flags.wants_explanation, "say what every number means, and stop");
  add_compute(settings, &flags.device, &flags.threads);
  add_json(settings, &flags.is_json);
}

// What is judged, and how it came about.
struct Subject {
  Embeddings embeddings;
  RetrievalOptions options;
  Tensor flipped;                                     // with --flip: of the mirrored pictures
  Dataset dataset;                                    // empty for a file of embeddings
  std::optional<Selection> selection;                 // of the weights, where there are any
  std::string provenance;                             // of the numbers; empty: unknown
  std::vector<std::string> classes, categories = {};  // names for each row; categories if any
  std::optional<ProxyDiagnostics> proxies = {};       // of the weights, where there are several

  std::string describe(const EvalFlags& flags) const {
    if (dataset.is_empty()) return flags.source;
    return dataset.describe() + ", " + flags.split + (flags.is_pixels ? ", plain pixels" : "");
  }
};

void name_parts(Subject& subject) {
  bool has_categories = false;
  for (const std::int64_t index : subject.embeddings.samples) {
    const Sample& sample = subject.dataset.samples[index];
    subject.classes.push_back(subject.dataset.class_names[sample.label]);
    subject.categories.push_back(sample.category);
    has_categories |= !sample.category.empty();
  }
  if (!has_categories) subject.categories.clear();
}

// How training pictures use the proxies can be told where such pictures are looked at, of the
// classes that the proxies stand for; of other pictures the proxies alone.
std::optional<ProxyDiagnostics> proxies_of(const SavedModel& saved, const EvalFlags& flags,
                                           const Subject& subject) {
  const auto loss = load_saved_loss(saved);
  if (!loss || !has_proxies_to_diagnose(*loss, subject.dataset)) return std::nullopt;
  const bool are_theirs =
      flags.split == "train" && loss->proxy_parameter()->dim(0) == subject.dataset.classes();
  return are_theirs ? diagnose_proxies(*loss, subject.dataset, subject.embeddings)
                    : diagnose_proxies(*loss);
}

Subject embedded_pictures(const EvalFlags& flags, const Config& config,
                          const std::optional<SavedModel>& saved, Log& log) {
  const Device device = set_up_compute(flags.device, flags.threads);
  Subject subject;
  // Not as Subject{.dataset = open_split(...)}: where a designated initialiser throws, GCC 12
  // destroys the nested aggregates before it twice that are given as braces or left out.
  subject.dataset = open_split(config, flags.split);
  ProgressView view(log, progress_mode(config.log.progress, log.terminal()));
  EmbedOptions options{.loader = loader_options_of(config, eval_transform_of(config.data)),
                       .batch = config.batch.pictures(),
                       .device = device,
                       .on_progress = [&](std::int64_t done, std::int64_t all) {
                         view.doing(detail::concat("embedding ", done, "/", all));
                       }};
  log.info("evaluating " + subject.dataset.describe() +
           (saved ? " with " + saved->weights.string() : ", plain pixels"));
  if (saved) {
    subject.selection = saved->selection;
    subject.provenance = provenance(config, saved->selection, {config.run.seed});
    const auto model = load_saved_model(*saved, config.model, device);
    const EmbeddingFunction function = [&](const Variable& images) { return (*model)(images); };
    subject.embeddings = embed(subject.dataset, function, options);
    subject.proxies = proxies_of(*saved, flags, subject);
    if (flags.is_flipped) {
      options.loader.transform.hflip = 1;
      subject.flipped = embed(subject.dataset, function, options).values;
    }
  } else {
    subject.embeddings = embed_pixels(subject.dataset, options);
    subject.provenance = pixels_provenance(config, subject.embeddings.values.dim(1));
  }
  view.finish();
  for (const BadImage& bad : subject.embeddings.bad_images) log.warning("left out: " + bad.reason);
  subject.options = retrieval_options(subject.dataset, subject.embeddings);
  name_parts(subject);
  return subject;
}

Subject embeddings_of_file(const EvalFlags& flags) {
  const Device device = set_up_compute(flags.device, flags.threads);
  LabelledEmbeddings read = read_labelled_embeddings(flags.source, flags.labels);
  read.embeddings.values = read.embeddings.values.to(device);
  Subject subject{.embeddings = std::move(read.embeddings), .options = std::move(read.options)};
  subject.selection = read.origin.selection;
  subject.provenance = std::move(read.origin.provenance);
  for (const std::int32_t label : subject.embeddings.labels)
    subject.classes.push_back(read.class_names[label]);
  subject.categories = std::move(read.categories);
  return subject;
}

void add_origin(const EvalFlags& flags, const Subject& subject, Json& record) {
  record["source"] = flags.is_pixels ? "pixels" : flags.source;
  record["data"] = subject.dataset.is_empty() ? Json() : Json(subject.dataset.describe());
  record["split"] = subject.dataset.is_empty() ? Json() : Json(flags.split);
  record["selection"] = subject.selection ? Json(name_of(*subject.selection)) : Json();
  record["provenance"] = subject.provenance.empty() ? Json() : Json(subject.provenance);
  record["left_out"] = std::ssize(subject.embeddings.bad_images);
  record["seconds"] = subject.embeddings.seconds;
  record["seconds_waited"] = subject.embeddings.seconds_waited;
}

std::string provenance_line(const Subject& subject) {
  if (!subject.provenance.empty()) return subject.provenance + "\n";
  return detail::concat(subject.embeddings.values.dim(1),
                        " features of unknown origin: the table has no column provenance\n");
}

int page_width() { return std::min(terminal_on(Stream::out).columns(), 110); }

// The flags' metrics, else the run's; so with the K of Recall@K alone.
MetricChoice choice_of(const EvalFlags& flags, const Config& config) {
  const auto is_recall = [](const std::string& name) { return name.starts_with("r@"); };
  std::vector<std::string> metrics = flags.metrics.empty() ? config.run.metrics : flags.metrics;
  spell_out_metrics(metrics);
  if (!flags.recall_at.empty()) {
    std::erase_if(metrics, is_recall);
    for (const std::int64_t k : flags.recall_at) metrics.push_back("r@" + std::to_string(k));
  } else if (std::ranges::none_of(metrics, is_recall)) {
    std::ranges::copy_if(config.run.metrics, std::back_inserter(metrics), is_recall);
  }
  return metric_choice(metrics, flags.metrics.empty() ? "run.metrics" : "--metrics");
}

// The metrics that an order of rows decides.
MetricChoice ranking_metrics(MetricChoice choice) {
  choice.wants_nmi = choice.wants_ami = choice.wants_auc = false;
  choice.tar_at.clear();
  return choice;
}

// What the flags ask for beside the plain scores, each alone.
std::vector<VariantResult> variants_of(const EvalFlags& flags, const Subject& subject,
                                       const MetricChoice& choice) {
  const Tensor& x = subject.embeddings.values;
  const std::vector<std::int32_t>& labels = subject.embeddings.labels;
  std::vector<VariantResult> variants;
  if (flags.is_flipped)
    variants.push_back(
        {"flip", "mean of the embeddings of a picture and of the mirrored one",
         measure(mean_directions(x, subject.flipped), labels, subject.options, choice)});
  if (!flags.query_expansion.empty()) {
    const auto expansion = query_expansion_from_text(flags.query_expansion);
    RetrievalOptions options = subject.options;
    options.as_queries = expanded_queries(x, labels, options, expansion);
    variants.push_back({"expanded",
                        detail::concat("alpha query expansion by the ", expansion.neighbours,
                                       " nearest, alpha = ", expansion.alpha),
                        measure(x, labels, options, ranking_metrics(choice))});
  }
  if (!flags.rerank.empty()) {
    const auto k = k_reciprocal_from_text(flags.rerank);
    const RetrievalOptions options =
        with_reranking(subject.options, reranked_neighbours(x, labels, subject.options, k));
    variants.push_back(
        {"re-ranked",
         detail::concat("the first ", k.candidates, " by k-reciprocal encoding, k1 = ", k.k1,
                        ", k2 = ", k.k2, ", lambda = ", k.lambda),
         measure(x, labels, options, ranking_metrics(choice))});
  }
  return variants;
}

void report_few_shot(const EvalFlags& flags, const Subject& subject) {
  std::vector<FewShotResult> results;
  for (const std::int64_t shots : flags.shots)
    results.push_back(few_shot(subject.embeddings.values, subject.embeddings.labels,
                               {.way = way_from_text(flags.few_shot),
                                .shots = shots,
                                .queries = flags.queries,
                                .tasks = flags.tasks,
                                .seed = static_cast<std::uint64_t>(flags.seed)}));
  if (!flags.is_json) {
    print_out(report_text(results, subject.describe(flags), subject.selection, page_width()) +
              provenance_line(subject));
    return;
  }
  Json record = Json::object({{"few_shot", to_json(results)}});
  add_origin(flags, subject, record);
  print_out(record.text() + "\n");
}

// Of pictures that nobody opens nothing can be chosen.
void check_no_data_flags(const Settings& settings) {
  for (const Setting& setting : settings.rows())
    check<UsageError>(
        !setting.source.starts_with("-") || (setting.section != "data" && setting.key != "split"),
        "eval: ", setting.source, " chooses among pictures, and a .npy file holds ",
        "embeddings; leave it out");
}

void check_few_shot_flags(const EvalFlags& flags) {
  check<UsageError>(!flags.is_flipped && flags.query_expansion.empty() && flags.rerank.empty(),
                    "eval: --few-shot ranks nothing; leave out --flip, --query-expansion and "
                    "--rerank");
  way_from_text(flags.few_shot);
  check<UsageError>(flags.grid.empty() && flags.metrics.empty() && flags.recall_at.empty(),
                    "eval: --few-shot classifies and ranks nothing; leave out --grid, --metrics "
                    "and --recall-at");
  check<UsageError>(flags.distance == EvalFlags().distance,
                    "eval: --few-shot compares by cosine; leave out --distance ", flags.distance);
  check<UsageError>(!flags.shots.empty(), "eval: --shots needs a number");
}

void check_flags(const EvalFlags& flags, const Settings& settings) {
  check<UsageError>(flags.source.empty() == flags.is_pixels,
                    "eval: name a run folder, a .safetensors or a .npy file, or give --pixels "
                    "(one of them)");
  check<UsageError>(flags.labels.empty() || flags.is_file_of_embeddings(),
                    "eval: --labels belongs to a .npy file");
  check<UsageError>(flags.grid.empty() || !flags.is_file_of_embeddings(),
                    "eval: --grid needs the pictures, a .npy file holds none");
  if (!flags.grid.empty()) check_is_png(flags.grid, "eval --grid");
  check<UsageError>(!flags.is_flipped || !(flags.is_file_of_embeddings() || flags.is_pixels),
                    "eval: --flip embeds pictures again, so it needs a network and its pictures");
  if (flags.is_file_of_embeddings()) check_no_data_flags(settings);
  if (!flags.query_expansion.empty()) query_expansion_from_text(flags.query_expansion);
  if (!flags.rerank.empty()) k_reciprocal_from_text(flags.rerank);
  check<UsageError>(
      flags.distance == "cosine" || (flags.query_expansion.empty() && flags.rerank.empty()),
      "eval: --query-expansion and --rerank need --distance cosine");
  if (!flags.few_shot.empty()) return check_few_shot_flags(flags);
  const EvalFlags usual;
  check<UsageError>(flags.shots == usual.shots && flags.queries == usual.queries &&
                        flags.tasks == usual.tasks && flags.seed == usual.seed,
                    "eval: --shots, --queries, --tasks and --seed belong to --few-shot");
}

int evaluate_and_report(const EvalFlags& flags, const Config& config,
                        const std::optional<SavedModel>& saved) {
  const MetricChoice choice = choice_of(flags, config);  // refuses names before any work
  Log log(terminal_on(Stream::error, config.log.color), config.log.quiet);
  Subject subject = flags.is_file_of_embeddings() ? embeddings_of_file(flags)
                                                  : embedded_pictures(flags, config, saved, log);
  if (!flags.few_shot.empty()) {
    report_few_shot(flags, subject);
    return kDone;
  }
  subject.options.distance = distance_from_name(flags.distance);
  const Embeddings& embeddings = subject.embeddings;
  EvaluationReport report{
      .subject = subject.describe(flags),
      .selection = subject.selection,
      .plain = measure(embeddings.values, embeddings.labels, subject.options, choice),
      .variants = variants_of(flags, subject, choice),
      .features = embeddings.values.dim(1),
      .distance = subject.options.distance,
      .proxies = subject.proxies};
  const RetrievalResult& result = report.plain.retrieval;
  report.classes = recall_by_part(result, subject.options, subject.classes);
  if (!subject.categories.empty())
    report.categories = recall_by_part(result, subject.options, subject.categories);
  // Pixels have too many features for a spectrum, and their number of directions says little.
  if (!flags.is_pixels)
    report.diagnostics = diagnose_embeddings(embeddings.values, embeddings.labels);
  if (flags.is_json) {
    Json record = to_json(report);
    add_origin(flags, subject, record);
    print_out(record.text() + "\n");
  } else {
    print_out(report_text(report, page_width()) + provenance_line(subject));
  }
  if (!flags.grid.empty()) {
    write_picture_atomically(flags.grid,
                             retrieval_grid(subject.dataset, embeddings, subject.options, result));
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
                    {"proxent eval runs/2026-11-23_cub --metrics all",
                     "with P@K, mAP, MRR, nDCG, NMI, AMI and ROC"},
                    {"proxent eval runs/2026-11-23_cub --flip --query-expansion 10,3 --rerank",
                     "what mirrored pictures, query expansion and re-ranking would add"},
                    {"proxent eval runs/2026-11-23_cub --few-shot 5-way",
                     "accuracy with one and with five labelled pictures per class"},
                    {"proxent eval --pixels --dataset fashion-mnist --image-size 28 --resize 0",
                     "the floor that a network must beat"},
                    {"proxent eval embeddings.npy --labels labels.csv", "embeddings from anywhere"},
                    {"proxent eval --explain", "what the numbers mean"}},
       .output =
           "A table of the metrics on stdout, in percent; with --json one object with shares, "
           "all classes, the spectrum and, with --metrics auc or tar@FAR, the ROC curve."});
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
  check_flags(flags, line.settings());
  return evaluate_and_report(flags, config, saved);
}

}  // namespace proxent
