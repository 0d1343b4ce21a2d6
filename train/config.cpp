#include "train/config.h"

#include <algorithm>

#include "data/dataset.h"
#include "data/parse_number.h"
#include "data/utf8.h"
#include "layers/resnet.h"
#include "tensor/check.h"
#include "train/config_table.h"
#include "train/device.h"
#include "train/loss.h"
#include "train/metric_choice.h"
#include "train/profiled_steps.h"
#include "train/text.h"
#include "train/toml.h"

namespace proxent {
namespace {

void add_data(Settings& s, DataConfig& c) {
  s.section("data", "which pictures, and how they become tensors");
  s.add("path", &c.path,
        "the data set: class folders, lists, CSV or a benchmark as it is handed out (proxent data "
        "--help); none: --dataset decides",
        {.flag = "data", .value = "PATH"});
  s.add("dataset", &c.dataset, "kind of data set; auto looks at --data, without one it is glyphs",
        {.value = "NAME", .choices = dataset_names()});
  s.add("image_size", &c.image_size, "side of the square the network sees, in pixels",
        {.range = between(1, 4096)});
  s.add("resize", &c.resize,
        "short side of the picture before a random or centre crop; 0: as it is",
        {.range = between(0, 8192)});
  s.add("crop", &c.crop,
        "training crop: rrc (RandomResizedCrop), a random or the centre square of the resized "
        "picture, or none (the whole picture, squeezed square)",
        {.choices = {"rrc", "random", "center", "none"}});
  s.add("rrc_scale", std::span(c.rrc_scale), "rrc: share of the area, least and most",
        {.value = "LOW,HIGH", .range = {0, 1, true}});
  s.add("rrc_ratio", std::span(c.rrc_ratio), "rrc: width / height, least and most",
        {.value = "LOW,HIGH", .range = above(0)});
  s.add("padding", &c.padding, "black border added before a random crop, in pixels",
        {.range = between(0, 4096)});
  s.add("hflip", &c.hflip, "probability of a mirrored training picture", {.range = between(0, 1)});
  s.add("channels", &c.channels,
        "order in which the network sees the colours; --mean and --std are of R,G,B in either",
        {.choices = {"rgb", "bgr"}});
  s.add("mean", std::span(c.mean), "subtracted from R,G,B in [0, 1]", {.value = "R,G,B"});
  s.add("std", std::span(c.stddev), "R,G,B are divided by this",
        {.value = "R,G,B", .range = above(0)});
  s.add("workers", &c.workers, "decoding threads; auto: one per core",
        {.letter = 'j', .range = between(1, 1024)});
  s.add("prefetch", &c.prefetch, "batches kept ready", {.range = between(1, 1024)});
  s.add("cache", &c.cache, "keep nothing, or decoded pixels in memory",
        {.choices = {"none", "decoded"}});
  s.add("on_bad_image", &c.on_bad_image,
        "a picture that is missing or cannot be read stops the run, or is skipped, counted and "
        "listed",
        {.choices = {"stop", "skip"}});
  s.add("allow_shared_classes", &c.allow_shared_classes,
        "train, validate and test on the same classes; otherwise a class in two of the parts stops "
        "the run");
  s.add("exif", &c.exif, "turn pictures as their EXIF orientation says (Pillow does not)");
  s.add("max_pixels", &c.max_pixels, "refuse pictures with more pixels than this",
        {.range = at_least(1)});
  s.add("decoder", &c.decoder, "JPEG decoder; auto: libjpeg where it was built in",
        {.choices = {"auto", "stb"}});
  s.add("glyph_seed", &c.glyph_seed, "seed of the glyphs data set's pictures",
        {.range = at_least(0)});
  s.add("fine_labels", &c.fine_labels,
        "table path,fine_label of labels finer than the classes: training does not see them, they "
        "judge what each proxy stands for",
        {.value = "FILE.csv"});
}

void add_batch(Settings& s, BatchConfig& c) {
  s.section("batch", "which pictures make a batch");
  s.add("size", &c.size, "pictures per optimizer step; auto: as many as the memory holds",
        {.flag = "batch", .letter = 'b', .range = between(1, 1 << 20)});
  s.add("sampler", &c.sampler, "random pictures, or --m pictures of each of batch / m classes",
        {.choices = {"random", "m-per-class"}});
  s.add("m", &c.m, "pictures per class of the m-per-class sampler", {.range = between(1, 1 << 20)});
  s.add("drop_last", &c.drop_last, "leave out an epoch's last, smaller batch");
}

void add_model(Settings& s, ModelConfig& c) {
  s.section("model", "backbone, pooling and embedding head");
  std::vector<std::string> backbones = resnet_names();
  backbones.insert(backbones.begin(), "resnet12");
  backbones.emplace_back("bn-inception");
  s.add("arch", &c.arch, "backbone", {.value = "NAME", .choices = backbones});
  s.add("stem", &c.stem,
        "imagenet: 7x7/2 convolution and max-pool; for small pictures one 3x3, of stride 1 (small) "
        "or 2 "
        "(compact)",
        {.choices = {"imagenet", "small", "compact"}});
  s.add("width", &c.width,
        "channels of a ResNet's first layer, doubled by each next; half of them need a quarter of "
        "the work",
        {.range = between(1, 4096)});
  s.add("weights", &c.weights,
        "start from this safetensors or PyTorch (.pth) file, tensors under torchvision's names",
        {.value = "FILE"});
  s.add("partial", &c.partial, "accept --weights with missing or unexpected tensors");
  s.add("pool", &c.pool, "features over the last map: mean, maximum, their sum, generalised mean",
        {.choices = {"avg", "max", "avg+max", "gem"}});
  s.add("embed_dim", &c.embed_dim, "numbers per embedding", {.range = between(1, 65536)});
  s.add("head", &c.head, "features to embedding: linear, with a LayerNorm before or behind it",
        {.choices = {"linear", "ln-linear", "linear-ln"}});
  s.add("head_init", &c.head_init,
        "how the head's projection starts: uniform, as torch.nn.Linear, or kaiming, normal",
        {.choices = {"uniform", "kaiming"}});
  s.add("bn_mode", &c.bn_mode,
        "batch norm: train; eval-stats (running statistics, gamma and beta trained); frozen "
        "(nothing trained)",
        {.choices = {"train", "eval-stats", "frozen"}});
  s.add("recompute", &c.recompute,
        "compute values again in backward instead of keeping them, the same numbers with less "
        "memory. relu: ReLUs behind batch norms, a third less and a little slower; block: all "
        "that is inside blocks, less than half is left, for a second forward pass",
        {.choices = {"none", "relu", "block"}});
  s.add("freeze", &c.freeze, "modules that are not trained, as conv1,bn1,layer1",
        {.value = "NAMES"});
  s.add("warmup_head", &c.warmup_head, "train only head and proxies for this long",
        {.takes_time = false});
}

void add_loss(Settings& s, LossConfig& c) {
  s.section("loss", "proxent help loss has the formula of mpl and a list of the others");
  std::vector<std::string> names;
  for (const LossKind& kind : loss_kinds()) names.emplace_back(kind.name);
  s.add("name", &c.name, "the loss (proxent help loss)",
        {.flag = "loss", .value = "NAME", .choices = names});
  s.add("proxies", &c.proxies, "proxies per class, K; auto: as usual for the loss, 4 for mpl",
        {.range = between(1, 1024)});
  s.add("sigma", &c.sigma,
        "softmax scale (inverse temperature) of L_ce; auto: as usual for the loss, 18 for mpl",
        {.range = above(0)});
  s.add("sigma_h", &c.sigma_h, "scale of H_inter; auto: sigma", {.range = above(0)});
  s.add("sigma_a", &c.sigma_a, "scale of H_intra; auto: half of sigma", {.range = above(0)});
  s.add("gamma", &c.gamma, "temperature over a class's proxies; auto: 1/sigma (lse), 0.1 (soft)",
        {.range = above(0)});
  s.add("margin", &c.margin,
        "by which the true class must win; auto: as usual for the loss, 0 for mpl",
        {.range = at_least(0)});
  s.add("select", &c.select, "a class's score from its proxies: log-sum-exp, nearest, soft mean",
        {.choices = {"lse", "max", "soft"}});
  s.add("negatives", &c.negatives, "other classes enter by their score or by every proxy",
        {.choices = {"selected", "all-proxies"}});
  s.add("inter", &c.inter, "H_inter over all classes, or over those that are not the true one",
        {.choices = {"all", "complement"}});
  s.add("weight_inter", &c.weight_inter, "weight of H_inter, maximised: smooth predictions",
        {.range = at_least(0)});
  s.add("weight_intra", &c.weight_intra, "weight of H_intra, minimised: a picture picks one proxy",
        {.range = at_least(0)});
  s.add("weight_usage", &c.weight_usage, "weight of the term that keeps proxies in even use",
        {.range = at_least(0)});
  s.add("normalise_entropy", &c.normalise_entropy, "divide the entropies by log C and log K");
  s.add("detach_selection", &c.detach_selection, "no gradient through the selection weights");
  s.add("weight_merge", &c.weight_merge, "soft-triple: weight of the term that merges proxies",
        {.range = at_least(0)});
  s.add("proxy_share", &c.proxy_share, "proxy-gml: share of all proxies kept for a picture",
        {.range = {0, 1, true}});
  s.add("weight_proxies", &c.weight_proxies, "proxy-gml: weight of the proxies' own classification",
        {.range = at_least(0)});
  s.add("mining", &c.mining, "triplet: which triplets of a batch count",
        {.choices = {"batch-hard", "semi-hard"}});
  s.add("positive_margin", &c.positive_margin,
        "contrastive: distance up to which two pictures of a class are near enough",
        {.range = at_least(0)});
  s.add("alpha", &c.alpha, "multi-similarity: scale of positives", {.range = above(0)});
  s.add("beta", &c.beta, "multi-similarity: scale of negatives", {.range = above(0)});
  s.add("base", &c.base,
        "multi-similarity: cosine that divides near from far, 0.5 in its code, 1 in the paper",
        {.range = between(-1, 1)});
  s.add("epsilon", &c.epsilon, "multi-similarity: slack of its mining", {.range = at_least(0)});
  s.add("memory", &c.memory,
        "contrastive, triplet, multi-similarity: embeddings of earlier batches that pictures are "
        "compared with too; 0: none",
        {.range = at_least(0)});
  s.add("memory_start", &c.memory_start, "steps before the memory is used", {.range = at_least(0)});
  s.add("proxy_init", &c.proxy_init,
        "how proxies start, each on its own: as ProxyNCA++'s, Proxy-Anchor's or SoftTriple's code",
        {.choices = {"normal", "kaiming", "uniform"}});
  s.add("proxy_lr_mult", &c.proxy_lr_mult, "proxies' learning rate as a multiple of --lr",
        {.range = at_least(0)});
  s.add("proxy_wd", &c.proxy_wd, "proxies' weight decay", {.range = at_least(0)});
  s.add("form", &c.form, "one fused pass, or the same composed from plain ops (slow, to read)",
        {.choices = {"fused", "composed"}});
}

void add_optim(Settings& s, OptimConfig& c) {
  s.section("optim", "optimizer and learning-rate schedule");
  s.add("name", &c.name, "sgd, adam (weight decay in the gradient), adamw (beside it), or rmsprop",
        {.flag = "optim", .choices = {"sgd", "adam", "adamw", "rmsprop"}});
  s.add("lr", &c.lr, "learning rate of backbone and head", {.range = at_least(0)});
  s.add("wd", &c.wd,
        "weight decay of convolutions and linear layers; of norms and biases with --decay-all",
        {.range = at_least(0)});
  s.add("decay_all", &c.decay_all, "weight decay of norms and biases too, as torch.optim has it");
  s.add("momentum", &c.momentum, "of sgd and rmsprop", {.range = {0, 1, false, true}});
  s.add("nesterov", &c.nesterov, "Nesterov momentum for sgd");
  s.add("betas", std::span(c.betas), "decay of the two averages of adam and adamw",
        {.value = "B1,B2", .range = {0, 1, false, true}});
  s.add("rms_alpha", &c.rms_alpha, "decay of the running square of rmsprop",
        {.range = {0, 1, false, true}});
  s.add("eps", &c.eps, "added to the denominator (all but sgd)", {.range = above(0)});
  s.add("sched", &c.sched,
        "learning rate: constant, falling in steps, a half cosine, or falling whenever evaluations "
        "stop getting better",
        {.choices = {"const", "step", "cosine", "plateau"}});
  s.add("lr_step", &c.lr_step, "step: multiply by --lr-gamma this often", {.takes_time = false});
  s.add("lr_milestones", &c.lr_milestones, "step: instead, once at each of these, as 40ep,45ep",
        {.value = "SPANS"});
  s.add("lr_patience", &c.lr_patience,
        "plateau: multiply by --lr-gamma after more than so many evaluations without a better one",
        {.range = at_least(0)});
  s.add("lr_gamma", &c.lr_gamma, "step and plateau: the factor", {.range = {0, 1, true}});
  s.add("lr_warmup", &c.lr_warmup, "rise linearly from 0 for this long", {.takes_time = false});
  s.add("min_lr", &c.min_lr, "cosine ends here", {.range = at_least(0)});
  s.add("clip_norm", &c.clip_norm, "scale the gradient down to this norm; 0: never",
        {.range = at_least(0)});
  s.add("clip_value", &c.clip_value, "clamp each gradient to +-this; 0: never",
        {.range = at_least(0)});
  s.add("ema", &c.ema, "evaluate an average of the weights with this decay; 0: none",
        {.range = {0, 1, false, true}});
}

void add_run(Settings& s, RunConfig& c) {
  s.section("run", "length, folder, evaluation and reproducibility");
  s.add("epochs", &c.epochs, "passes over the training pictures",
        {.letter = 'e', .range = at_least(0)});
  s.add("steps", &c.steps, "optimizer steps; 0: --epochs decides", {.range = at_least(0)});
  s.add("out", &c.out,
        "folder of this run, new or without pictures, folders and a run's files; none: "
        "runs/DATE_NAME",
        {.letter = 'o', .value = "DIR"});
  s.add("name", &c.name, "name in the folder; none: from data set, backbone, loss and seed");
  s.add("resume", &c.resume,
        "go on with the run in this folder, or with its ckpt/last.state; auto: the one at --out",
        {.value = "PATH"});
  s.add("eval_every", &c.eval_every, "evaluate this often");
  s.add("save_every", &c.save_every, "write a checkpoint this often");
  s.add("keep_last", &c.keep_last, "checkpoints kept beside the best", {.range = at_least(1)});
  s.add("protocol", &c.protocol,
        "who chooses the epoch: val (held-out training classes), mlrc (one fold of them, see "
        "--fold), last, paper (the test split; labelled test-selected), none (no evaluation)",
        {.choices = {"val", "mlrc", "last", "paper", "none"}});
  s.add("val_classes", &c.val_classes, "protocol val: share of the training classes held out",
        {.range = {0, 1, true, true}});
  s.add("fold", &c.fold, "protocol mlrc: the fold of the training classes held out, from 0",
        {.value = "FOLD/FOLDS"});
  s.add("metrics", &c.metrics, std::string(kMetricNames), {.value = "LIST"});
  s.add("choose_by", &c.choose_by,
        "the metric by which --protocol chooses the epoch, --early-stop ends and --sched plateau "
        "falls",
        {.choices = {"r@1", "map@r", "rp"}});
  s.add("baselines", &c.baselines,
        "before training, measure plain pixels and the untrained network on the test split");
  s.add("seed", &c.seed, "of everything random", {.range = at_least(0)});
  s.add("time_limit", &c.time_limit, "stop after this long with a checkpoint, exit code 75",
        {.takes_steps = false});
  add_compute(s, &c.device, &c.threads);
  s.add("precision", &c.precision,
        "of the backbone on a GPU: f32; tf32, its products; bf16 or fp16, its products and "
        "activations, fp16 with a loss scale that finds itself; weights, statistics, head and loss "
        "are f32 in all",
        {.choices = {"f32", "tf32", "bf16", "fp16"}});
  s.add("cuda_graphs", &c.cuda_graphs,
        "record the work of a step on the GPU once and repeat it; off gives the same bits, slower",
        {.choices = {"on", "off"}});
  s.add("deterministic", &c.deterministic,
        "the same bits on every run with the same seed, also from the GPU's libraries; the "
        "processor gives them always");
  s.add("on_nan", &c.on_nan,
        "a loss or gradient that is not a finite number: stop the run; skip the batch as if it had "
        "not been; or go back to the last checkpoint and on with the batches after it. The batch "
        "is kept in RUN/nonfinite",
        {.choices = {"stop", "skip", "rollback"}});
  s.add("early_stop", &c.early_stop,
        "end after so many evaluations in a row without a better one; 0: never",
        {.range = at_least(0)});
  s.add("limit_train", &c.limit_train, "use only so many training pictures; 0: all",
        {.range = at_least(0)});
  s.add("limit_test", &c.limit_test, "use only so many pictures for each evaluation; 0: all",
        {.range = at_least(0)});
}

void add_log(Settings& s, LogConfig& c) {
  s.section("log", "what the terminal shows");
  s.add("log_every", &c.log_every, "one line this often");
  s.add("progress", &c.progress, "a live bar, lines only, nothing, or a bar if on a terminal",
        {.choices = {"auto", "bar", "lines", "none"}});
  s.add("color", &c.color, "colour; auto: on a terminal, unless NO_COLOR is set",
        {.choices = {"auto", "always", "never"}});
  s.add("quiet", &c.quiet, "warnings and results only", {.letter = 'q'});
  s.add("tensorboard", &c.tensorboard, "write the curves to RUN/tb for TensorBoard too");
  s.add("report", &c.report,
        "write RUN/report.html when training ends or stops: results, curves, pictures in one page");
}

void add_debug(Settings& s, DebugConfig& c) {
  s.section("debug", "before a long run");
  s.add("dry_run", &c.dry_run,
        "decode the first and last picture of each class (proxent data check decodes all), do one "
        "step, an evaluation and a save; then stop");
  s.add("overfit_batch", &c.overfit_batch, "train on one batch: its loss must fall to the floor");
  add_profile_steps(s, &c.profile_steps);
}

}  // namespace

void add_config(Settings& settings, Config& config) {
  add_data(settings, config.data);
  add_batch(settings, config.batch);
  add_model(settings, config.model);
  add_loss(settings, config.loss);
  add_optim(settings, config.optim);
  add_run(settings, config.run);
  add_log(settings, config.log);
  add_debug(settings, config.debug);
}

void fail_unknown_key(const Settings& settings, const std::string& name, const std::string& place) {
  std::string hint;
  const std::string leaf = name.substr(name.rfind('.') + 1);
  for (const Setting& row : settings.rows())  // the right key in the wrong section
    if (row.key == leaf || row.options.flag == leaf) hint = " Did you mean '" + row.name() + "'?";
  if (hint.empty()) hint = suggestion(name, settings.key_names());
  fail<UsageError>("unknown key '", name, "' in ", place, ".", hint, " (proxent help config)");
}

bool is_retired(const TomlEntry& entry) {
  return entry.name == "loss.revive_below" && entry.value.items == std::vector{shortest(0)};
}

Config config_from_toml(std::string_view text, std::string_view source, Config base) {
  ConfigTable table(std::move(base));
  Settings& settings = table.settings();
  for (const TomlEntry& entry : read_toml(text, source)) {
    if (entry.name == "preset") continue;  // --print-config writes it; all its values follow
    if (is_retired(entry)) continue;
    Setting* setting = settings.find_key(entry.name);
    if (!setting) fail_unknown_key(settings, entry.name, entry.place);
    settings.assign(*setting, entry.value, entry.name + " in " + entry.place, entry.place);
  }
  finish_config(table.config());
  return table.config();
}

std::string to_toml(const Settings& settings, TomlStyle style) {
  std::string text;
  for (const Settings::Section& section : settings.sections()) {
    std::string lines;
    for (const Setting& row : settings.rows()) {
      if (row.section != section.name || section.name.empty()) continue;
      if (style == TomlStyle::changed && row.is_default()) continue;
      std::string line = row.key + " = " + row.value_text();
      if (style != TomlStyle::plain && !(row.is_default() && row.source.empty())) {
        line = padded(line, 34) + (row.is_default() ? "  #   " : "  # * ") + row.source;
        if (!row.is_default())
          line += (row.source.empty() ? "default " : "; default ") + row.initial;
      }
      lines += line + "\n";
    }
    if (!lines.empty()) text += (text.empty() ? "[" : "\n[") + section.name + "]\n" + lines;
  }
  return text;
}

std::string to_toml(const Config& config) {
  return to_toml(ConfigTable(config).settings(), TomlStyle::plain);
}

namespace {

// Checkpoints carry the configuration as JSON: better to stop now than at the first of them.
void check_texts(const Config& config) {
  for (const ConfigTable table(config); const Setting& row : table.rows())
    check<UsageError>(is_utf8(row.value_text()), row.name(),
                      ": expected text in UTF-8, got other bytes in ", row.value_text(),
                      ". Rename the file or folder, or name it through a link");
}

}  // namespace

void check_config(const Config& config) {
  check_texts(config);
  const auto& [data, batch, model, loss, optim, run, log, debug] = config;
  check<UsageError>(data.rrc_scale[0] <= data.rrc_scale[1],
                    "data.rrc_scale: ", shortest(data.rrc_scale[0]), " is above ",
                    shortest(data.rrc_scale[1]), "; give the least first");
  check<UsageError>(data.rrc_ratio[0] <= data.rrc_ratio[1],
                    "data.rrc_ratio: ", shortest(data.rrc_ratio[0]), " is above ",
                    shortest(data.rrc_ratio[1]), "; give the least first");
  check<UsageError>(!dataset_needs_path(data.dataset) || !data.path.empty(), "data.dataset = \"",
                    data.dataset, "\" needs --data PATH");
  const bool has_whole_classes =
      batch.sampler != "m-per-class" || !batch.size || *batch.size % batch.m == 0;
  check<UsageError>(has_whole_classes, "batch.size = ", batch.pictures(),
                    " is no multiple of batch.m = ", batch.m, ", as --sampler m-per-class needs");
  const ModelConfig own;
  check<UsageError>(
      resnet_depth(model.arch) || (model.stem == own.stem && model.width == own.width),
      "model.stem and model.width are for resnet18 to resnet152, ", model.arch,
      " has its own; leave them out");
  check<UsageError>(run.steps > 0 || run.epochs > 0,
                    "run.epochs and run.steps are both 0, which trains nothing; give --epochs or "
                    "--steps");
  check<UsageError>(optim.min_lr <= optim.lr, "optim.min_lr = ", shortest(optim.min_lr),
                    " is above optim.lr = ", shortest(optim.lr));
  check<UsageError>(!optim.nesterov || (optim.name == "sgd" && optim.momentum > 0),
                    "optim.nesterov needs --optim sgd with a momentum above 0");
  check<UsageError>(run.precision != "fp16" || optim.clip_value == 0,
                    "optim.clip_value cannot bound gradients that fp16's loss scale multiplies; "
                    "give --clip-norm with --clip-value 0, or --precision bf16");
  const bool has_milestones = !lr_milestones_of(optim).empty();
  check<UsageError>(optim.sched == "step" || !has_milestones,
                    "optim.lr_milestones belong to --sched step, got --sched ", optim.sched);
  check<UsageError>(optim.sched != "step" || has_milestones || !optim.lr_step.is_zero(),
                    "optim.sched = \"step\" needs an optim.lr_step such as 10ep");
  const bool evaluates_on_the_way =
      run.protocol == "val" || run.protocol == "mlrc" || run.protocol == "paper";
  for (const auto& [needs_it, name] : {std::pair{run.early_stop != 0, "run.early_stop"},
                                       {optim.sched == "plateau", "optim.sched = \"plateau\""}})
    check<UsageError>(!needs_it || evaluates_on_the_way, name,
                      " needs a protocol that evaluates during training, got --protocol ",
                      run.protocol);
  check<UsageError>(run.resume != "auto" || !run.out.empty(),
                    "run.resume = \"auto\" needs --out DIR, the folder to look in");
  metric_choice(run.metrics);  // refuses what it does not know
  fold_of(run);                // and what is no fold
  step_range(config.debug.profile_steps);
}

ConfigTable::ConfigTable(Config config) {
  add_config(settings_, config_);  // defaults and names ...
  config_ = std::move(config);     // ... of these values
}

std::string ConfigTable::operator()(std::string_view key) const {
  const Setting* row = settings_.find_key(key);
  check(row, "no setting is called '", key, "'");
  return row->plain_text() + (row->is_default() ? "" : "*");
}

void finish_config(Config& config) {
  spell_out_metrics(config.run.metrics);
  check_config(config);
}

std::vector<Duration> lr_milestones_of(const OptimConfig& config) {
  std::vector<Duration> milestones;
  for (const std::string& text : config.lr_milestones) {
    const Duration milestone = parse_duration(text);
    check<UsageError>(!milestone.is_zero() && !milestone.is_time(),
                      "optim.lr_milestones: expected numbers of steps or epochs such as 40ep, got ",
                      text);
    check<UsageError>(milestones.empty() || milestone.unit != milestones.back().unit ||
                          milestones.back().amount < milestone.amount,
                      "optim.lr_milestones: ", text, " does not come after ",
                      milestones.empty() ? "" : to_text(milestones.back()));
    milestones.push_back(milestone);
  }
  return milestones;
}

Fold fold_of(const RunConfig& config) {
  const std::vector<std::string> parts = split(config.fold, '/');
  std::optional<std::int64_t> index, count;
  if (parts.size() == 2) {
    index = parse_number<std::int64_t>(parts[0]);
    count = parse_number<std::int64_t>(parts[1]);
  }
  check<UsageError>(index && count && 0 <= *index && *index < *count && *count >= 2,
                    "run.fold: expected FOLD/FOLDS with at least 2 folds, counted from 0, as 0/4; "
                    "got '",
                    config.fold, "'");
  return {.index = *index, .count = *count};
}

}  // namespace proxent
