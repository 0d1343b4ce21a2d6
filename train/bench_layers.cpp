#include "train/bench_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "layers/census.h"
#include "tensor/batch_norm.h"
#include "tensor/gpu_math.h"
#include "tensor/matmul.h"
#include "tensor/pooling.h"
#include "tensor/timing.h"
#include "tensor/window.h"
#include "train/device.h"
#include "train/json.h"
#include "train/table.h"
#include "train/text.h"

namespace proxent {
namespace {

// ---- inputs

// Normal random numbers on the device, of which tensors of any shape are cut: drawing all of them
// would take the host longer than the device needs for its work. Those of one layer do not overlap,
// or the cache would serve two of them at once.
class Noise {
 public:
  Noise(std::int64_t elements, DType dtype, Device device)
      : values_({std::max(elements, kDrawn)}, dtype, device) {
    Tensor drawn({kDrawn}, DType::f32);
    fill_normal(drawn, Philox(0, stream_of("bench layers")), 0, 1);
    values_.slice(0, kDrawn).copy_from(drawn.to(dtype).to(device));
    for (std::int64_t n = kDrawn; n < values_.numel(); n *= 2) {
      const std::int64_t count = std::min(n, values_.numel() - n);
      values_.slice(n, count).copy_from(values_.slice(0, count));
    }
  }
  Tensor next(const Shape& shape) {
    Tensor part = values_.view(used_, shape);
    used_ += room(shape);
    return part;
  }
  void reuse() { used_ = 0; }
  // Of a tensor and what brings the next one to an address that vector loads and engines like.
  static std::int64_t room(const Shape& shape) { return (shape.numel() + 127) / 128 * 128; }

 private:
  static constexpr std::int64_t kDrawn = 1 << 20;
  Tensor values_;
  std::int64_t used_ = 0;
};

Shape result_of(const ConvCall& call) {
  const auto extent = [&](int axis) {
    return window_positions(call.x[axis], call.w[axis], call.options.stride, call.options.padding);
  };
  return {call.x[0], extent(1), extent(2), call.w[0]};
}

std::int64_t room(const ConvCall& call) {
  return Noise::room(call.x) + Noise::room(call.w) + Noise::room(result_of(call));
}
std::int64_t room(const BatchNormCall& call) { return 3 * Noise::room(call.x); }  // x, residual, dy
// What lies around the blocks needs less than a batch norm of its size, but for the linear layer.
std::int64_t room(const Shape& x, const Shape& w) {
  return Noise::room(x) + Noise::room(w) + Noise::room({x[0], w[0]});
}

// ---- ceilings

// Doubles a size until work on it takes long enough for starting it not to count, or `most` is
// reached; returns that size and its seconds.
struct Sized {
  std::int64_t size = 0;
  double seconds = 0;
};
Sized grow(std::int64_t size, std::int64_t most, double enough_seconds,
           const std::function<double(std::int64_t)>& seconds_at) {
  for (;; size *= 2)
    if (const double seconds = seconds_at(size); seconds >= enough_seconds || 2 * size > most)
      return {size, seconds};
}

Ceilings measure_ceilings(DType dtype, const BenchLayersOptions& options) {
  // The fastest round counts: a ceiling that something else held down would praise every layer.
  const int rounds = std::max(5, static_cast<int>(options.rounds));
  const Sized copy = grow(1 << 24, 1 << 30, 0.01, [&](std::int64_t bytes) {
    const Tensor from = Tensor::zeros({bytes}, DType::u8, options.device);
    Tensor to({bytes}, DType::u8, options.device);
    return time_runs(options.device, rounds, [&] { to.copy_from(from); }).least;
  });
  const Sized product = grow(512, 8192, 0.05, [&](std::int64_t n) {
    Noise noise(2 * n * n, dtype, options.device);
    const Tensor a = noise.next({n, n}), b = noise.next({n, n});
    return time_runs(options.device, rounds, [&] { matmul(a, b, {.transpose_b = true}); }).least;
  });
  const auto n = static_cast<double>(product.size);
  return {.bytes_per_second = 2 * static_cast<double>(copy.size) / copy.seconds,
          .flop_per_second = 2 * n * n * n / product.seconds,
          .copied_bytes = copy.size,
          .matmul_size = product.size};
}

// ---- layers

class Bench {
 public:
  Bench(const BenchLayersOptions& options, DType dtype, std::int64_t room)
      : options_(options),
        dtype_(dtype),
        ceilings_(measure_ceilings(dtype, options)),
        noise_(room, dtype, options.device) {}

  void time_convolution(const ConvCall& call, std::int64_t calls) {
    noise_.reuse();
    const Tensor x = noise_.next(call.x), w = noise_.next(call.w);
    const Tensor dy = noise_.next(result_of(call));
    LayerTime layer{.layer = name_of(call),
                    .calls = calls,
                    .bytes = x.bytes() + w.bytes() + dy.bytes(),
                    .flop = 2 * dy.numel() * call.w.with(0, 1).numel()};
    add(layer, "conv", [&] { conv2d(x, w, call.options); });
    if (call.wants_dx) add(layer, "conv dx", [&] { conv2d_dx(dy, w, call.x, call.options); });
    add(layer, "conv dw", [&] { conv2d_dw(dy, x, call.w, call.options); });
  }

  void time_batch_norm(const BatchNormCall& call, std::int64_t calls) {
    noise_.reuse();
    const Tensor x = noise_.next(call.x), dy = noise_.next(call.x);
    const Tensor residual = call.has_residual ? noise_.next(call.x) : Tensor();
    const DType wide = sum_dtype(dtype_);
    const auto channels = [&](double value) {
      return Tensor::full({call.x[3]}, wide, value, options_.device);
    };
    const Tensor gamma = channels(1), beta = channels(0);
    Tensor mean = channels(0), variance = channels(1);
    const BatchNormOptions norm{.has_relu = call.has_relu};
    const auto forward = [&] { return batch_norm(x, gamma, beta, mean, variance, norm, residual); };
    const BatchNormed normed = forward();
    // On the CPU y itself tells what the ReLU let pass, on the GPU a bit per element.
    const Tensor& passed = normed.kept.passed;
    const bool has_bits = passed.is_defined() && passed.storage() != normed.y.storage();
    const std::int64_t image = x.bytes(), mask = passed.is_defined() ? passed.bytes() : 0;

    LayerTime layer{.layer = name_of(call), .calls = calls};
    // Statistics read x; then x [and residual] are read, y [and bits] written.
    layer.bytes = (call.has_residual ? 4 : 3) * image + (has_bits ? mask : 0);
    add(layer, "norm", [&] { forward(); });
    // Sums read dy, x [and the mask, and write dresidual]; then dy or dresidual, and x, are read
    // and dx written.
    layer.bytes = (call.has_residual ? 6 : 5) * image + mask;
    add(layer, "norm back",
        [&] { batch_norm_backward(dy, normed.kept, norm, {.dresidual = call.has_residual}); });
  }

  void time_stem_pool(const Shape& shape) {
    noise_.reuse();
    const Tensor x = noise_.next(shape);
    const Pool2dOptions& pool = ResNet::kStemPool;
    const auto [y, index] = max_pool2d(x, pool);
    const Tensor dy = noise_.next(y.shape());
    LayerTime layer{.layer = fmt::format("{}, {}x{}/{} max", images_of(shape), pool.size, pool.size,
                                         pool.stride),
                    .calls = 1,
                    .bytes = x.bytes() + y.bytes() + index.bytes()};
    add(layer, "pool", [&] { max_pool2d(x, pool); });
    add(layer, "pool back", [&, &at = index] { max_pool2d_backward(dy, at, shape, pool); });
  }

  void time_global_pool(const Shape& shape) {
    noise_.reuse();
    const Tensor x = noise_.next(shape), dy = noise_.next({shape[0], shape[3]});
    LayerTime layer{
        .layer = images_of(shape) + " mean", .calls = 1, .bytes = x.bytes() + dy.bytes()};
    add(layer, "pool", [&] { global_avg_pool(x); });
    add(layer, "pool back", [&] { global_avg_pool_backward(dy, shape); });
  }

  // y = x w^T, without the bias.
  void time_linear(const Shape& x_shape, const Shape& w_shape) {
    noise_.reuse();
    // The head is f32 where the images are of two bytes.
    const auto next = [&](const Shape& shape) { return noise_.next(shape).to(sum_dtype(dtype_)); };
    const Tensor x = next(x_shape), w = next(w_shape), dy = next({x_shape[0], w_shape[0]});
    LayerTime layer{.layer = fmt::format("{} > {}", w_shape[1], w_shape[0]),
                    .calls = 1,
                    .bytes = x.bytes() + w.bytes() + dy.bytes(),
                    .flop = 2 * x_shape[0] * w_shape.numel()};
    add(layer, "linear", [&] { matmul(x, w, {.transpose_b = true}); });
    add(layer, "linear dx", [&] { matmul(dy, w); });
    add(layer, "linear dw", [&] { matmul(dy, x, {.transpose_a = true}); });
  }

  BenchLayersResult result() && {
    BenchLayersResult result{.ceilings = ceilings_, .layers = std::move(layers_)};
    for (const char* direction : {"conv", "conv dx", "conv dw", "norm", "norm back", "pool",
                                  "pool back", "linear", "linear dx", "linear dw", "all"})
      result.sums.push_back(sum_of(result.layers, direction));
    return result;
  }

 private:
  static std::string images_of(const Shape& x) { return fmt::format("{}x{}x{}", x[1], x[2], x[3]); }
  static std::string name_of(const ConvCall& call) {
    const std::string stride =
        call.options.stride > 1 ? fmt::format("/{}", call.options.stride) : "";
    return fmt::format("{} > {}, {}x{}{}", images_of(call.x), call.w[0], call.w[1], call.w[2],
                       stride);
  }
  static std::string name_of(const BatchNormCall& call) {
    return fmt::format("{}{}{}", images_of(call.x), call.has_residual ? " add" : "",
                       call.has_relu ? " relu" : "");
  }

  void add(LayerTime layer, const char* direction, const std::function<void()>& run) {
    layer.direction = direction;
    layer.seconds = time_runs(options_.device, static_cast<int>(options_.rounds), run).median;
    const double moving = static_cast<double>(layer.bytes) / ceilings_.bytes_per_second;
    const double computing = static_cast<double>(layer.flop) / ceilings_.flop_per_second;
    layer.floor_seconds = std::max(moving, computing);
    layer.is_bound_by_flop = computing > moving;
    layers_.push_back(layer);
  }

  // Of the layers of one direction, each as often as a step calls it.
  static LayerTime sum_of(const std::vector<LayerTime>& layers, const std::string& direction) {
    LayerTime sum{.layer = "a step", .direction = direction};
    double computing = 0;  // seconds of the floor
    for (const LayerTime& layer : layers) {
      if (direction != "all" && layer.direction != direction) continue;
      const auto calls = static_cast<double>(layer.calls);
      sum.calls += layer.calls;
      sum.seconds += calls * layer.seconds;
      sum.floor_seconds += calls * layer.floor_seconds;
      if (layer.is_bound_by_flop) computing += calls * layer.floor_seconds;
      sum.bytes += layer.calls * layer.bytes;
      sum.flop += layer.calls * layer.flop;
    }
    sum.is_bound_by_flop = computing > sum.floor_seconds / 2;
    return sum;
  }

  const BenchLayersOptions& options_;
  const DType dtype_;
  const Ceilings ceilings_;
  Noise noise_;
  std::vector<LayerTime> layers_;
};

struct UseEngines {
  explicit UseEngines(std::int64_t count) : before(gpu_math()) {
    GpuMath math = before;
    math.timed_engines = count;
    set_gpu_math(math);
  }
  ~UseEngines() { set_gpu_math(before); }
  UseEngines(const UseEngines&) = delete;
  UseEngines& operator=(const UseEngines&) = delete;
  const GpuMath before;
};

double giga(double value) { return value * 1e-9; }

}  // namespace

BenchLayersResult bench_layers(const BenchLayersOptions& options) {
  check<UsageError>(
      options.size >= 1 && options.batch >= 1 && options.dim >= 1 && options.rounds >= 1,
      "bench layers: size, batch, dim and rounds must be at least 1");
  const std::optional<int> depth = resnet_depth(options.arch);
  check<UsageError>(depth.has_value(), "bench layers: --arch must be ", one_of(resnet_names()),
                    ", got ", options.arch);
  const DType dtype = set_up_precision(options.precision, options.device);
  const UseEngines engines(options.engines);
  const Census census = census_of({.depth = *depth}, options.size, options.batch);
  const auto convolutions = distinct(census.convolutions);
  const auto batch_norms = distinct(census.batch_norms);
  const Shape stem = census.batch_norms.front().x, last = census.batch_norms.back().x;
  const Shape pooled{last[0], last[3]}, embedding{options.dim, last[3]};
  std::int64_t most = room(pooled, embedding);
  for (const auto& [call, calls] : convolutions) most = std::max(most, room(call));
  for (const auto& [call, calls] : batch_norms) most = std::max(most, room(call));
  Bench bench(options, dtype, most);
  for (const auto& [call, calls] : convolutions) bench.time_convolution(call, calls);
  for (const auto& [call, calls] : batch_norms) bench.time_batch_norm(call, calls);
  bench.time_stem_pool(stem);
  bench.time_global_pool(last);
  bench.time_linear(pooled, embedding);
  return std::move(bench).result();
}

std::string to_json(const BenchLayersOptions& options, const BenchLayersResult& result) {
  const auto rows = [](const std::vector<LayerTime>& layers) {
    Json list = Json::array();
    for (const LayerTime& layer : layers)
      list.push_back(
          Json::object({{"layer", layer.layer},
                        {"direction", layer.direction},
                        {"calls", layer.calls},
                        {"seconds", layer.seconds},
                        {"bytes", layer.bytes},
                        {"flop", layer.flop},
                        {"gb_s", giga(static_cast<double>(layer.bytes) / layer.seconds)},
                        {"tflop_s", giga(static_cast<double>(layer.flop) / layer.seconds) / 1e3},
                        {"floor_seconds", layer.floor_seconds},
                        {"bound_by", layer.is_bound_by_flop ? "flop" : "bytes"},
                        {"share_of_roofline", layer.share()}}));
    return list;
  };
  const Ceilings& ceilings = result.ceilings;
  return Json::object(
             {{"bench", "layers"},
              {"arch", options.arch},
              {"size", options.size},
              {"batch", options.batch},
              {"dim", options.dim},
              {"precision", options.precision},
              {"device", describe(options.device)},
              {"rounds", options.rounds},
              {"engines", options.engines},
              {"ceilings", Json::object({{"copy_gb_s", giga(ceilings.bytes_per_second)},
                                         {"copied_bytes", ceilings.copied_bytes},
                                         {"matmul_tflop_s", giga(ceilings.flop_per_second) / 1e3},
                                         {"matmul_size", ceilings.matmul_size}})},
              {"layers", rows(result.layers)},
              {"sums", rows(result.sums)}})
      .text();
}

std::string to_text(const BenchLayersOptions& options, const BenchLayersResult& result, int width) {
  Table table(fmt::format("{}, {} px, batch {}, {}, {}", options.arch, options.size, options.batch,
                          options.precision, describe(options.device)));
  table.head({"layer", "", "calls", "ms", "MB", "GFLOP", "GB/s", "TFLOP/s", "of roofline"});
  for (std::size_t column = 2; column < 9; ++column) table.align_right(column);
  const auto add = [&](const LayerTime& layer) {
    const auto bytes = static_cast<double>(layer.bytes), flop = static_cast<double>(layer.flop);
    const bool has_flop = layer.flop > 0;
    table.row({layer.layer, layer.direction, std::to_string(layer.calls),
               fmt::format("{:.3f}", layer.seconds * 1e3), fmt::format("{:.1f}", bytes / 1e6),
               has_flop ? fmt::format("{:.2f}", giga(flop)) : "",
               fmt::format("{:.1f}", giga(bytes) / layer.seconds),
               has_flop ? fmt::format("{:.3f}", giga(flop) / 1e3 / layer.seconds) : "",
               fmt::format("{:.0f}% {}", 100 * layer.share(),
                           layer.is_bound_by_flop ? "FLOP" : "bytes")});
  };
  for (const LayerTime& layer : result.layers) add(layer);
  table.line();
  for (const LayerTime& sum : result.sums) add(sum);
  const Ceilings& ceilings = result.ceilings;
  return table.text(width) +
         fmt::format(
             "ceilings, measured in this run: copy {:.1f} GB/s ({}, read and written), {} product "
             "of {} x {} {:.3f} TFLOP/s\n",
             giga(ceilings.bytes_per_second), human_bytes(ceilings.copied_bytes), options.precision,
             ceilings.matmul_size, ceilings.matmul_size, giga(ceilings.flop_per_second) / 1e3);
}

}  // namespace proxent
