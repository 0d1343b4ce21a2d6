#include "train/bench_loader.h"

#include <fmt/format.h>

#include "train/clock.h"
#include "train/json.h"
#include "train/task.h"

namespace proxent {

BenchLoaderResult bench_loader(const Config& config, const BenchLoaderOptions& options) {
  const Task task = open_task(config);
  const Sampler sampler(task.train, sampler_options_of(config));
  Loader loader(task.train, sampler, loader_options_of(config, task.train_transform));
  // What lies ready is taken first: it would count as made in no time.
  for (std::int64_t i = 0; i < options.warm_up + config.data.prefetch; ++i) loader.next();
  const Stopwatch watch;
  for (std::int64_t i = 0; i < options.batches; ++i) loader.next();
  BenchLoaderResult result{.data = task.train.describe(),
                           .transform = task.train_transform.describe(),
                           .decoder = jpeg_decoder_name(task.train.decode),
                           .batch = config.batch.pictures(),
                           .batches = options.batches};
  result.seconds = watch.seconds();
  result.img_s = static_cast<double>(result.batch * result.batches) / result.seconds;
  return result;
}

std::string to_json(const BenchLoaderResult& result) {
  return Json::object({{"data", result.data},
                       {"transform", result.transform},
                       {"jpeg_decoder", result.decoder},
                       {"batch", result.batch},
                       {"batches", result.batches},
                       {"seconds", result.seconds},
                       {"img_s", result.img_s}})
      .text();
}

std::string to_text(const BenchLoaderResult& result) {
  return fmt::format("{}: {:.0f} img/s ({} batches of {} in {:.2f} s)\n{}; JPEG decoder {}",
                     result.data, result.img_s, result.batches, result.batch, result.seconds,
                     result.transform, result.decoder);
}

}  // namespace proxent
