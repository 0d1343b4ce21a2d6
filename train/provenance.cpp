#include "train/provenance.h"

#include <fmt/format.h>

#include <algorithm>

#include "train/metric_choice.h"

namespace proxent {
namespace {

// What an evaluation sees of a picture; training may crop as it likes.
std::string crop_text(const DataConfig& data) {
  if (data.crop == "none") return fmt::format("whole picture at {0}x{0}", data.image_size);
  const std::string crop = fmt::format("center crop {}", data.image_size);
  return data.resize > 0 ? fmt::format("resize {}, {}", data.resize, crop) : crop;
}

std::string protocol_text(const RunConfig& run, FoldUse use) {
  if (run.protocol != "mlrc") return run.protocol;
  if (use == FoldUse::one) return "mlrc, fold " + run.fold;
  return fmt::format("mlrc, {} folds {}", fold_of(run).count,
                     use == FoldUse::separated ? "separated" : "concatenated");
}

// How the weights were chosen; by R@1 unless it says otherwise.
std::string selection_text(const RunConfig& run, Selection selection) {
  const bool is_usual = selection == Selection::last_epoch || run.choose_by == "r@1";
  return std::string(name_of(selection)) + (is_usual ? "" : " by " + chooser_name(run.choose_by));
}

// What makes an embedding of a picture, and of how many runs it is told.
std::string conditions(const Config& config, std::int64_t features,
                       const std::vector<std::int64_t>& seeds) {
  return fmt::format("{}, pool {}, {} features, batch norm {}, {}, n={}", crop_text(config.data),
                     config.model.pool, features, config.model.bn_mode, seeds_text(seeds),
                     seeds.size());
}

}  // namespace

std::string seeds_text(std::vector<std::int64_t> seeds) {
  std::sort(seeds.begin(), seeds.end());
  std::string text = seeds.size() == 1 ? "seed " : "seeds ";
  for (std::size_t first = 0, last; first < seeds.size(); first = last + 1) {
    for (last = first; last + 1 < seeds.size() && seeds[last + 1] == seeds[last] + 1;) ++last;
    text += fmt::format("{}{}", first > 0 ? "," : "", seeds[first]);
    if (last > first) text += fmt::format("-{}", seeds[last]);
  }
  return text;
}

std::string pixels_provenance(const Config& config, std::int64_t features) {
  return fmt::format("plain pixels, {}, {} features, n=1", crop_text(config.data), features);
}

std::string provenance(const Config& config, Selection selection,
                       const std::vector<std::int64_t>& seeds, FoldUse use) {
  const std::int64_t models = use == FoldUse::concatenated ? fold_of(config.run).count : 1;
  return fmt::format("{} (protocol {}), {}", selection_text(config.run, selection),
                     protocol_text(config.run, use),
                     conditions(config, models * config.model.embed_dim, seeds));
}

std::string provenance_on_the_way(const Config& config, std::string_view split) {
  return fmt::format("{} while training (protocol {}), {}", split,
                     protocol_text(config.run, FoldUse::one),
                     conditions(config, config.model.embed_dim, {config.run.seed}));
}

std::string untrained_provenance(const Config& config) {
  return "untrained, " + conditions(config, config.model.embed_dim, {config.run.seed});
}

}  // namespace proxent
