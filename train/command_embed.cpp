
#include "train/command.h"
#include "train/command_line.h"
#include "train/device.h"
#include "train/exit_code.h"
#include "train/labelled_embeddings.h"
#include "train/log.h"
#include "train/progress_view.h"
#include "train/provenance.h"
#include "train/saved_model.h"
#include "train/task.h"

namespace proxent {
namespace {

struct EmbedFlags {
  std::string checkpoint, out = "embeddings.npy", split = "all";
  std::string device = "auto";
  ThreadCount threads;
  bool is_json = false;
};

void add_flags(CommandLine& line, EmbedFlags& flags) {
  line.positional("CHECKPOINT", &flags.checkpoint, "run folder or .safetensors file");
  line.settings().add(
      "out", &flags.out,
      "the .npy file to write; the table goes beside it, over one of earlier embeddings",
      {.letter = 'o', .value = "FILE"});
  line.settings().add("split", &flags.split,
                      "which pictures; all: every part, classes of one name as one",
                      {.choices = {"all", "test", "validation", "train"}});
  add_compute(line.settings(), &flags.device, &flags.threads);
  add_json(line.settings(), &flags.is_json);
}

}  // namespace

int embed_command(const Arguments& arguments) {
  Config config;
  EmbedFlags flags;
  CommandLine line(
      {.name = "embed",
       .usage = "CHECKPOINT [flags]",
       .summary = "pictures to embeddings: .npy and a CSV of paths and labels",
       .about = "Puts pictures through a trained network and writes one row of length one per "
                "picture, for search, clustering or plots elsewhere. Sizes and normalisation are "
                "those of the run; the pictures are its own unless --data names others.",
       .examples = {{"proxent embed runs/2026-11-23_cub --split test",
                     "the pictures that the run was judged on"},
                    {"proxent embed best.safetensors --data holiday -o holiday.npy",
                     "your own pictures, a folder per class"},
                    {"proxent eval holiday.npy", "how well they retrieve each other"}},
       .output = "FILE.npy, float32 (pictures, features), and FILE.csv with a line per row: "
                 "path,label,group,category,is_query,is_gallery,selection,provenance. The last two "
                 "say how the weights were chosen and what was embedded; eval tells them again."});
  add_flags(line, flags);
  line.add_config(config, {.sections = {"data", "log"}});
  if (!line.read(arguments)) return kDone;
  const SavedModel saved = find_saved_model(flags.checkpoint);
  if (!line.apply(saved.info.config, saved.weights.string())) return kDone;
  const Device device = set_up_compute(flags.device, flags.threads);

  Log log(terminal_on(Stream::error, config.log.color), config.log.quiet);
  const Dataset dataset = open_split(config, flags.split);
  check_embeddings_path(flags.out, dataset);  // before hours of work
  const auto model = load_saved_model(saved, config.model, device);
  log.info("embedding " + dataset.describe() + " with " + saved.weights.string());
  ProgressView view(log, progress_mode(config.log.progress, log.terminal()));
  const Embeddings embeddings =
      embed(dataset, [&](const Variable& images) { return (*model)(images); },
            {.loader = loader_options_of(config, eval_transform_of(config.data)),
             .batch = config.batch.pictures(),
             .device = device,
             .on_progress = [&](std::int64_t done, std::int64_t all) {
               view.doing(detail::concat("embedding ", done, "/", all));
             }});
  view.finish();
  for (const BadImage& bad : embeddings.bad_images) log.warning("left out: " + bad.reason);
  const EmbeddingOrigin origin{
      .selection = saved.selection,
      .provenance = provenance(config, saved.selection, {config.run.seed})};
  write_labelled_embeddings(flags.out, dataset, embeddings, origin);
  log.result(
      detail::concat("wrote ", embeddings.values, " to ", flags.out, "\n", origin.provenance));
  if (flags.is_json)
    print_out(Json::object({{"weights", saved.weights.string()},
                            {"file", flags.out},
                            {"rows", embeddings.values.dim(0)},
                            {"features", embeddings.values.dim(1)},
                            {"selection", name_of(saved.selection)},
                            {"provenance", origin.provenance},
                            {"left_out", std::ssize(embeddings.bad_images)},
                            {"seconds", embeddings.seconds},
                            {"seconds_waited", embeddings.seconds_waited}})
                  .text() +
              "\n");
  return kDone;
}

}  // namespace proxent
