#include "train/task.h"

#include <algorithm>
#include <tuple>

#include "data/subclasses.h"

namespace proxent {
namespace {

bool holds_out_classes(const RunConfig& run) {
  return run.protocol == "val" || run.protocol == "mlrc";
}

// Some of the training classes choose the epoch: a fold of them with protocol mlrc, with val a
// share, unless the data names its own.
void hold_out_validation(const Config& config, DatasetSplits& splits) {
  if (config.run.protocol == "mlrc") {
    const Fold fold = fold_of(config.run);
    std::tie(splits.train, splits.validation) = hold_out_fold(splits.train, fold.index, fold.count);
    return;
  }
  if (!splits.validation.is_empty()) return;
  std::tie(splits.train, splits.validation) = split_off_classes(
      splits.train, config.run.val_classes, static_cast<std::uint64_t>(config.run.seed));
}

// Divides the classes as the protocol says and cuts the parts down to the limits.
void divide(const Config& config, DatasetSplits& splits) {
  if (holds_out_classes(config.run)) hold_out_validation(config, splits);
  splits.train = splits.train.evenly_spaced(config.run.limit_train);
  splits.validation = splits.validation.evenly_spaced(config.run.limit_test);
  splits.test = splits.test.evenly_spaced(config.run.limit_test);
}

// Which judge what the proxies of the training classes stand for.
void read_hidden_labels(const Config& config, DatasetSplits& splits) {
  if (!config.data.fine_labels.empty()) read_fine_labels(splits.train, config.data.fine_labels);
}

// Retrieval is judged on classes that neither training nor the choice of the epoch ever saw,
// unless the user says otherwise.
void check_unseen(const Config& config, const DatasetSplits& splits) {
  if (config.data.allow_shared_classes) return;
  for (const auto& [first, second, shared] : shared_classes(splits)) {
    constexpr std::size_t kShown = 5;
    std::string names;
    for (std::size_t i = 0; i < std::min(kShown, shared.size()); ++i)
      names += (i > 0 ? ", " : "") + shared[i];
    fail<DataError>("data: ", counted(std::ssize(shared), "class is", "classes are"), " both in ",
                    first, " and in ", second, " (", names, shared.size() > kShown ? ", ..." : "",
                    "), so the numbers would not be of unseen classes. Divide the classes, or "
                    "give --allow-shared-classes if that is meant");
  }
}

Transform shared_transform(const DataConfig& config) {
  Transform transform;
  transform.image_size = config.image_size;
  transform.is_bgr = config.channels == "bgr";
  for (std::size_t i = 0; i < 3; ++i) {
    transform.mean[i] = static_cast<float>(config.mean[i]);
    transform.std[i] = static_cast<float>(config.stddev[i]);
  }
  return transform;
}

}  // namespace

DatasetOptions dataset_options_of(const DataConfig& config) {
  return {.name = config.dataset,
          .path = config.path,
          .accept_missing = on_bad_image_from_name(config.on_bad_image) == OnBadImage::skip,
          .seed = static_cast<std::uint64_t>(config.glyph_seed),
          .threads = static_cast<int>(config.workers.value_or(0)),
          .decode = {.apply_exif = config.exif,
                     .prefer_stb = config.decoder == "stb",
                     .max_pixels = config.max_pixels}};
}

Transform train_transform_of(const DataConfig& config) {
  Transform transform = shared_transform(config);
  transform.crop = crop_from_name(config.crop);
  transform.resize = transform.crop == Crop::random_resized ? 0 : config.resize;
  transform.padding = transform.crop == Crop::random ? config.padding : 0;
  transform.rrc_scale = config.rrc_scale;
  transform.rrc_ratio = config.rrc_ratio;
  transform.hflip = config.hflip;
  transform.validate();
  return transform;
}

Transform eval_transform_of(const DataConfig& config) {
  Transform transform = shared_transform(config);
  transform.crop = crop_from_name(config.crop) == Crop::none ? Crop::none : Crop::center;
  transform.resize = config.resize;
  transform.validate();
  return transform;
}

SamplerOptions sampler_options_of(const Config& config) {
  return {.kind = sampler_from_name(config.batch.sampler),
          .batch = config.batch.pictures(),
          .per_class = config.batch.m,
          .drop_last = config.batch.drop_last,
          .seed = static_cast<std::uint64_t>(config.run.seed)};
}

LoaderOptions loader_options_of(const Config& config, const Transform& transform) {
  return {.transform = transform,
          .seed = static_cast<std::uint64_t>(config.run.seed),
          .threads = static_cast<int>(config.data.workers.value_or(0)),
          .prefetch = static_cast<int>(config.data.prefetch),
          .on_bad_image = on_bad_image_from_name(config.data.on_bad_image)};
}

Task open_task(const Config& config) {
  DatasetSplits splits = open_dataset(dataset_options_of(config.data));
  read_hidden_labels(config, splits);
  check_unseen(config, splits);
  Task task;
  task.description = splits.description;
  task.selection = selection_of(config.run.protocol);
  check<DataError>(!splits.train.is_empty(), "data: nothing to train on in ", task.description);
  divide(config, splits);
  task.train = std::move(splits.train);
  if (holds_out_classes(config.run)) task.validation = std::move(splits.validation);
  task.test = std::move(splits.test);
  check<DataError>(task.train.classes() >= 2, "data: training needs at least two classes, got ",
                   task.train.describe(),
                   task.validation.is_empty()
                       ? ""
                       : detail::concat("; --protocol ", config.run.protocol, " holds out ",
                                        task.validation.describe(), ", --protocol last none"));
  check<UsageError>(!config.batch.size || *config.batch.size <= task.train.size(),
                    "batch.size: ", config.batch.pictures(), " is larger than the training set, ",
                    task.train.describe(), ". Choose --batch ", task.train.size(), " or less");
  task.train_transform = train_transform_of(config.data);
  task.eval_transform = eval_transform_of(config.data);
  return task;
}

Dataset open_split(const Config& config, std::string_view split) {
  check<UsageError>(split == "train" || split == "validation" || split == "test" || split == "all",
                    "split: expected train, validation, test or all, got '", split, "'");
  DatasetOptions options = dataset_options_of(config.data);
  options.only_test = split == "all";
  DatasetSplits splits = open_dataset(options);
  if (split == "train") read_hidden_labels(config, splits);
  if (split == "all") splits.test = all_parts(splits);
  // A test part needs nothing that could be divided beside it.
  if (split == "train" || split == "validation")
    divide(config, splits);
  else
    splits.test = splits.test.evenly_spaced(config.run.limit_test);
  Dataset part = split == "train"        ? std::move(splits.train)
                 : split == "validation" ? std::move(splits.validation)
                                         : std::move(splits.test);
  check<DataError>(!part.is_empty(), "data: there is no ", split, " part in ", splits.description);
  return part;
}

}  // namespace proxent
