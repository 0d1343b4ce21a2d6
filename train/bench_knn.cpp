#include "train/bench_knn.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "tensor/allocator.h"
#include "tensor/random.h"
#include "train/clock.h"
#include "train/device.h"
#include "train/json.h"
#include "train/metrics_text.h"
#include "train/process_memory.h"

namespace proxent {
namespace {

constexpr double kNoise = 2.2;

Tensor clusters(const BenchKnnOptions& options) {
  Tensor x({options.rows, options.dim}, DType::f32);
  fill_normal(x, Philox(0, stream_of("bench knn noise")), 0, kNoise);
  Tensor centres({options.classes, options.dim}, DType::f32);
  fill_normal(centres, Philox(0, stream_of("bench knn centres")), 0, 1);
  for (std::int64_t i = 0; i < x.numel(); ++i)
    x.data<float>()[i] += centres.data<float>()[i % centres.numel()];
  return x;
}

}  // namespace

BenchKnnResult bench_knn(const BenchKnnOptions& options) {
  check<UsageError>(
      options.rows >= 1 && options.dim >= 1 && options.classes >= 1 && options.repeats >= 1,
      "bench knn: rows, dim, classes and repeats must be at least 1");
  const Tensor x = clusters(options).to(options.device);
  std::vector<std::int32_t> labels(options.rows);
  for (std::int64_t i = 0; i < options.rows; ++i)
    labels[i] = static_cast<std::int32_t>(i % options.classes);

  BenchKnnResult result{.seconds = std::numeric_limits<double>::infinity()};
  reset_memory_peak(options.device);
  for (std::int64_t i = 0; i < options.repeats; ++i) {
    const Stopwatch watch;
    result.retrieval = evaluate_retrieval(x, labels, {.recall_at = options.recall_at});
    result.seconds = std::min(result.seconds, watch.seconds());
  }
  const double rows = static_cast<double>(options.rows);
  result.gflops = 2e-9 * rows * rows * static_cast<double>(options.dim) / result.seconds;
  result.peak_bytes = memory_report(options.device).peak;
  result.peak_rss_bytes = peak_process_bytes();
  return result;
}

std::string to_json(const BenchKnnOptions& options, const BenchKnnResult& result) {
  Json record = Json::object({{"rows", options.rows},
                              {"dim", options.dim},
                              {"classes", options.classes},
                              {"device", describe(options.device)},
                              {"seconds", result.seconds},
                              {"gflops", result.gflops},
                              {"peak_bytes", result.peak_bytes},
                              {"peak_rss_bytes", result.peak_rss_bytes}});
  for (const RecallAtK& at : result.retrieval.recall_at)
    record[fmt::format("r@{}", at.k)] = at.recall;
  record["map@r"] = result.retrieval.map_at_r;
  record["rp"] = result.retrieval.r_precision;
  return record.text();
}

std::string to_text(const BenchKnnOptions& options, const BenchKnnResult& result) {
  return fmt::format(
      "{} x {} embeddings of {} classes against each other, {}: {:.3f} s, {:.0f} GFLOP/s\n"
      "{}\npeak memory {:.0f} MB in tensors, {:.0f} MB in the process",
      options.rows, options.dim, options.classes, describe(options.device), result.seconds,
      result.gflops, metrics_text(result.retrieval), static_cast<double>(result.peak_bytes) / 1e6,
      static_cast<double>(result.peak_rss_bytes) / 1e6);
}

}  // namespace proxent
