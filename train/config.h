// Every choice of a run in one plain struct, one nested struct per section of the TOML file. The
// defaults stand here; names, help and limits of the keys stand in config.cpp's table.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "train/duration.h"

namespace proxent {

struct DataConfig {
  std::string path;               // folder tree, list file or CSV; empty: a set that needs no path
  std::string dataset = "auto";   // auto: by what lies at `path`, glyphs without one
  std::int64_t image_size = 224;  // side of the square the network sees
  std::int64_t resize = 256;      // short side before a random or centre crop
  std::string crop = "rrc";       // training: rrc, random, center, none (whole picture, squeezed)
  std::array<double, 2> rrc_scale = {0.08, 1.0};       // share of the area
  std::array<double, 2> rrc_ratio = {0.75, 4.0 / 3};   // width / height
  std::int64_t padding = 0;                            // random: black border added before the crop
  double hflip = 0.5;                                  // probability
  std::array<double, 3> mean = {0.485, 0.456, 0.406};  // of ImageNet, RGB in [0, 1]
  std::string channels = "rgb";  // the order in which the network sees them: rgb, bgr
  std::array<double, 3> stddev = {0.229, 0.224, 0.225};
  std::optional<std::int64_t> workers;  // decoding threads; auto: as many as cores
  std::int64_t prefetch = 4;            // batches kept ready
  std::string cache = "none";           // none, decoded (pixels)
  std::string on_bad_image = "stop";    // stop, skip
  bool allow_shared_classes = false;    // in several parts at once
  bool exif = false;                    // turn pictures as their EXIF orientation says
  std::int64_t max_pixels = 178956970;  // refuse larger pictures; Pillow's decompression-bomb limit
  std::string decoder = "auto";         // auto: libjpeg where it was built in; stb
  std::int64_t glyph_seed = 1;
  std::string fine_labels;  // table path,fine_label: hidden from training, judges the proxies
};

struct BatchConfig {
  std::optional<std::int64_t> size = 120;  // auto: as many as the memory holds
  std::string sampler = "random";          // random, m-per-class
  std::int64_t m = 4;                      // pictures per class of m-per-class
  bool drop_last = true;                   // leave out an epoch's last, smaller batch

  // Of auto, where nothing depends on it and before it is decided, the usual number.
  std::int64_t pictures() const { return size.value_or(120); }
};

struct ModelConfig {
  std::string arch = "resnet18";  // resnet12, resnet18 ... resnet152, bn-inception
  std::string stem = "imagenet";  // imagenet (7x7/2 and max-pool), small (3x3/1), compact (3x3/2)
  std::int64_t width = 64;        // channels of a ResNet's first layer; each next has twice
  std::string weights;            // safetensors to start from; empty: random
  bool partial = false;           // accept weights with missing or unexpected tensors
  std::string pool = "avg";       // avg, max, avg+max, gem
  std::int64_t embed_dim = 512;   // size of the embedding
  std::string head = "linear";    // linear, ln-linear, linear-ln
  std::string head_init = "uniform";  // uniform (as torch's Linear), kaiming
  std::string bn_mode = "train";      // train, eval-stats, frozen
  std::string recompute = "none";     // none, relu, block: what backward computes again
  std::vector<std::string> freeze;    // modules that are not trained: conv1, layer1, ...
  Duration warmup_head;               // only head and proxies are trained for this long
};

// Which keys a loss looks at, and what auto means for it, stands in train/loss.cpp's table.
struct LossConfig {
  std::string name = "mpl";
  std::optional<std::int64_t>
      proxies;                         // K per class; auto: the loss's own, as for sigma and margin
  std::optional<double> sigma;         // softmax scale of L_ce; Proxy-Anchor's alpha
  std::optional<double> sigma_h;       // of H_inter; auto: sigma
  std::optional<double> sigma_a;       // of H_intra; auto: sigma / 2
  std::optional<double> gamma;         // temperature over k; auto: 1/sigma for lse, 0.1 for soft
  std::optional<double> margin;        // Proxy-Anchor's delta; of negatives in contrastive
  std::string select = "lse";          // lse, max, soft
  std::string negatives = "selected";  // selected, all-proxies
  std::string inter = "all";           // all, complement
  double weight_inter = 0.1;
  double weight_intra = 0.1;
  bool normalise_entropy = false;     // divide by log C and log K
  double weight_usage = 0.3;          // keeps a class's proxies in even use
  bool detach_selection = false;      // no gradient through the selection weights
  double weight_merge = 0.2;          // soft-triple: of the term that merges proxies, tau
  double proxy_share = 0.05;          // proxy-gml: of all proxies, so many for each picture, r
  double weight_proxies = 0.3;        // proxy-gml: of the proxies' own classification, lambda
  std::string mining = "batch-hard";  // triplet: batch-hard, semi-hard
  double positive_margin = 0;         // contrastive: distance up to which a pair is near enough
  double alpha = 2, beta = 50;        // multi-similarity: scales of positives and negatives
  double base = 0.5, epsilon = 0.1;   // multi-similarity: threshold, and slack of its mining
  std::int64_t memory = 0;            // of pairs: embeddings of earlier batches kept
  std::int64_t memory_start = 0;      // steps before they are used
  std::string proxy_init = "normal";  // normal (randn / 8), kaiming, uniform
  double proxy_lr_mult = 100;         // proxies' learning rate / optim.lr
  double proxy_wd = 0;                // proxies' weight decay
  std::string form = "fused";         // fused, composed: the same loss from plain ops
};

struct OptimConfig {
  std::string name = "adamw";  // sgd, adam (decay in the gradient), adamw, rmsprop
  double lr = 3e-4;
  double wd = 1e-4;        // of weights of convolutions and linear layers
  bool decay_all = false;  // of norms and biases too
  double momentum = 0.9;   // of sgd and rmsprop
  bool nesterov = false;
  std::array<double, 2> betas = {0.9, 0.999};  // of adam and adamw
  double rms_alpha = 0.99;                     // of rmsprop
  double eps = 1e-8;
  std::string sched = "cosine";                     // const, step, cosine, plateau
  Duration lr_step = {10, Duration::Unit::epochs};  // step: multiply by lr_gamma every ...
  std::vector<std::string> lr_milestones;           // step: instead, once at each of these
  std::int64_t lr_patience = 4;  // plateau: evaluations without a better one that it bears
  double lr_gamma = 0.5;
  Duration lr_warmup;    // linear rise from 0
  double min_lr = 0;     // cosine ends here
  double clip_norm = 0;  // 0: none
  double clip_value = 0;
  double ema = 0;  // decay of the averaged weights; 0: none
};

struct RunConfig {
  std::int64_t epochs = 60;
  std::int64_t steps = 0;  // 0: epochs decide
  std::string out;         // the run's folder; empty: runs/DATE_NAME
  std::string name;        // empty: dataset_arch_loss_sSEED
  std::string resume;      // a run's folder or last.state to go on from; "auto": the one at `out`
  Duration eval_every = {1, Duration::Unit::epochs};
  Duration save_every = {1, Duration::Unit::epochs};
  std::int64_t keep_last = 1;
  std::string protocol = "val";  // val, mlrc, last, paper, none
  double val_classes = 0.2;      // share of the training classes held out by protocol val
  std::string fold = "0/4";      // held out by protocol mlrc: FOLD/FOLDS, counted from 0
  // See train/metric_choice.h. A bare number repeats the name before it: "r@1,2,4,8".
  std::vector<std::string> metrics = {"r@1", "r@2", "r@4", "r@8", "map@r", "rp"};
  std::string choose_by = "r@1";  // metric that finds one evaluation better: r@1, map@r, rp
  bool baselines = false;  // first measure plain pixels and the untrained network on the test split
  std::int64_t seed = 1;
  Duration time_limit;                  // stop cleanly with a checkpoint (exit code 75)
  std::string device = "auto";          // auto, cpu, cuda, cuda:N
  std::string precision = "f32";        // f32, tf32, bf16, fp16
  std::string cuda_graphs = "on";       // record a step of the GPU once and repeat it: on, off
  std::optional<std::int64_t> threads;  // of the computation; auto: as many as cores
  bool deterministic = true;            // of the GPU's libraries; the processor always is
  std::string on_nan = "stop";          // stop, skip, rollback
  std::int64_t early_stop = 0;          // evaluations without a better one; 0: never
  std::int64_t limit_train = 0;         // use only so many pictures; 0: all
  std::int64_t limit_test = 0;
};

struct LogConfig {
  Duration log_every = {20, Duration::Unit::iterations};
  std::string progress = "auto";  // auto, bar, lines, none
  std::string color = "auto";     // auto, always, never
  bool quiet = false;             // warnings and results only
  bool tensorboard = true;        // RUN/tb
  bool report = true;             // RUN/report.html
};

struct DebugConfig {
  bool dry_run = false;        // check everything, one step of each kind, stop
  bool overfit_batch = false;  // train on the first batch alone: the loss must fall to its floor
  std::string profile_steps;   // "A:B": a waiting GPU profiler collects these steps
};

struct Config {
  DataConfig data;
  BatchConfig batch;
  ModelConfig model;
  LossConfig loss;
  OptimConfig optim;
  RunConfig run;
  LogConfig log;
  DebugConfig debug;
};

// Reads one TOML text over the defaults, or over `base`. `source` names it in errors. Throws
// UsageError for an unknown key (with the nearest name), a wrong type, or a value out of range.
Config config_from_toml(std::string_view text, std::string_view source, Config base = {});
// Every key of the configuration as TOML that config_from_toml reads back to the same values.
std::string to_toml(const Config& config);
// What no single key can know: throws UsageError when two settings contradict each other.
void check_config(const Config& config);
// optim.lr_milestones as spans of training, rising. Throws UsageError for another text.
std::vector<Duration> lr_milestones_of(const OptimConfig& config);
// The fold that protocol mlrc holds out, from "FOLD/FOLDS". Throws UsageError for another text.
struct Fold {
  std::int64_t index = 0, count = 4;
};
Fold fold_of(const RunConfig& config);

}  // namespace proxent
