#include "train/bench_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tensor/gpu.h"
#include "tensor/random.h"
#include "tensor/timing.h"
#include "train/clock.h"
#include "train/device.h"
#include "train/json.h"
#include "train/safetensors.h"

namespace proxent {
namespace {

using Form = MultiProxyEntropy (*)(const Variable&, const Variable&, const Tensor&,
                                   const MultiProxyEntropyOptions&, const Tensor&);

struct BenchInputs {
  Tensor embeddings, proxies, labels;
};

BenchInputs random_inputs(const BenchLossOptions& o) {
  BenchInputs in{Tensor({o.batch, o.dim}, DType::f32),
                 Tensor({o.classes, o.proxies, o.dim}, DType::f32), Tensor({o.batch}, DType::i32)};
  fill_normal(in.embeddings, Philox(0, stream_of("bench embeddings")), 0, 1);
  fill_normal(in.proxies, Philox(0, stream_of("bench proxies")), 0, 1.0 / 8);
  Philox random(0, stream_of("bench labels"));
  for (std::int64_t i = 0; i < o.batch; ++i)
    in.labels.data<std::int32_t>()[i] = static_cast<std::int32_t>(random.below(o.classes));
  if (!o.start_file.empty())
    write_safetensors(
        o.start_file,
        {{"embeddings", in.embeddings}, {"proxies", in.proxies}, {"labels", in.labels}});
  for (Tensor* tensor : {&in.embeddings, &in.proxies, &in.labels}) *tensor = tensor->to(o.device);
  return in;
}

struct Step {
  double ms = 0, loss = 0;
  std::int64_t peak_bytes = 0;
  Tensor dz, dw;
};

Step run_step(Form form, const BenchInputs& in, const MultiProxyEntropyOptions& options) {
  const Variable embeddings = Variable::leaf(in.embeddings), proxies = Variable::leaf(in.proxies);
  Step step;
  const Device device = in.proxies.device();
  synchronize(device);
  const std::int64_t before = memory_report(device).in_use;
  reset_memory_peak(device);
  const Stopwatch watch;
  {
    Tape tape;
    const MultiProxyEntropy out = form(embeddings, proxies, in.labels, options, {});
    tape.backward(out.loss);
    step.loss = out.loss.value().item();
  }
  synchronize(device);
  step.ms = 1e3 * watch.seconds();
  step.peak_bytes = memory_report(device).peak - before;
  step.dz = embeddings.gradient();
  step.dw = proxies.gradient();
  return step;
}

double relative_difference(const Tensor& a, const Tensor& b) {
  double difference = 0, largest = 0;
  const auto left = a.to_vector<float>(), right = b.to_vector<float>();
  for (std::size_t i = 0; i < right.size(); ++i) {
    const double x = left[i], y = right[i];
    difference = std::max(difference, std::abs(x - y));
    largest = std::max(largest, std::abs(y));
  }
  return largest > 0 ? difference / largest : difference;
}

BenchLossTimes summary(const std::vector<double>& ms, const Step& last) {
  return {.ms_median = median(ms),
          .ms_min = *std::min_element(ms.begin(), ms.end()),
          .ms_max = *std::max_element(ms.begin(), ms.end()),
          .peak_bytes = last.peak_bytes,
          .loss = last.loss};
}

}  // namespace

BenchLossResult bench_loss(const BenchLossOptions& o) {
  check<UsageError>(o.batch >= 1 && o.classes >= 1 && o.proxies >= 1 && o.dim >= 1 && o.rounds >= 1,
                    "bench loss: batch, classes, proxies, dim and rounds must be at least 1");
  const BenchInputs in = random_inputs(o);
  Step fused, composed;
  std::vector<double> fused_ms, composed_ms, ratios;
  for (std::int64_t round = -o.warm_up; round < o.rounds; ++round) {
    composed = {}, fused = {};  // their gradients must not count in the next step's memory
    composed = run_step(multi_proxy_entropy_composed, in, o.loss);
    fused = run_step(multi_proxy_entropy, in, o.loss);
    if (round < 0) continue;
    composed_ms.push_back(composed.ms);
    fused_ms.push_back(fused.ms);
    ratios.push_back(composed.ms / fused.ms);
  }
  return {.fused = summary(fused_ms, fused),
          .composed = summary(composed_ms, composed),
          .ratio = median(ratios),
          .ratio_min = *std::min_element(ratios.begin(), ratios.end()),
          .ratio_max = *std::max_element(ratios.begin(), ratios.end()),
          .matrix_bytes = o.batch * o.classes * o.proxies * 4,
          .gradient_bytes = in.embeddings.bytes() + in.proxies.bytes(),
          .gradient_difference = std::max(relative_difference(fused.dz, composed.dz),
                                          relative_difference(fused.dw, composed.dw))};
}

std::string to_json(const BenchLossOptions& o, const BenchLossResult& result) {
  const auto times = [](const BenchLossTimes& t) {
    return Json::object({{"ms_median", t.ms_median},
                         {"ms_min", t.ms_min},
                         {"ms_max", t.ms_max},
                         {"peak_bytes", t.peak_bytes},
                         {"loss", t.loss}});
  };
  const Json json = Json::object({{"bench", "loss"},
                                  {"device", describe(o.device)},
                                  {"batch", o.batch},
                                  {"classes", o.classes},
                                  {"proxies", o.proxies},
                                  {"dim", o.dim},
                                  {"rounds", o.rounds},
                                  {"fused", times(result.fused)},
                                  {"composed", times(result.composed)},
                                  {"ratio", result.ratio},
                                  {"ratio_min", result.ratio_min},
                                  {"ratio_max", result.ratio_max},
                                  {"matrix_bytes", result.matrix_bytes},
                                  {"gradient_bytes", result.gradient_bytes},
                                  {"gradient_difference", result.gradient_difference}});
  return json.text();
}

std::string to_text(const BenchLossOptions& o, const BenchLossResult& result) {
  const auto line = [&](const char* name, const BenchLossTimes& t) {
    return fmt::format("{:10s} {:8.1f} ms  ({:.1f} .. {:.1f})   peak {:7.1f} MB   loss {:.6f}\n",
                       name, t.ms_median, t.ms_min, t.ms_max, t.peak_bytes / 1e6, t.loss);
  };
  return fmt::format(
             "multi-proxy entropy loss, forward and backward, float32, {}: batch {}, {} classes x "
             "{} "
             "proxies, {} dimensions, {} rounds\n",
             describe(o.device), o.batch, o.classes, o.proxies, o.dim, o.rounds) +
         line("fused", result.fused) + line("composed", result.composed) +
         fmt::format(
             "composed / fused {:.2f}  ({:.2f} .. {:.2f})   one (B, CK) matrix {:.1f} MB, "
             "gradients {:.1f} MB   gradients differ by {:.1e}",
             result.ratio, result.ratio_min, result.ratio_max, result.matrix_bytes / 1e6,
             result.gradient_bytes / 1e6, result.gradient_difference);
}

}  // namespace proxent
