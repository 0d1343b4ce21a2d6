// The multi-proxy entropy loss, composed and fused: goldens from its definition, identities with
// known losses, and limits.
#include "losses/multi_proxy_entropy.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "tensor/gather.h"
#include "tensor/gpu.h"
#include "tensor/random.h"
#include "tests/devices.h"
#include "tests/tensors.h"
#include "train/safetensors.h"

namespace proxent {
namespace {

using Options = MultiProxyEntropyOptions;
using Loss = std::function<MultiProxyEntropy(const Variable&, const Variable&, const Tensor&,
                                             const Options&, const Tensor&)>;

struct Form {
  std::string name;
  Loss loss;
  Device device = Device::cpu;
};
const Form kComposed{"composed", multi_proxy_entropy_composed},
    kFused{"fused", multi_proxy_entropy};
const std::array<Form, 2> kCpuForms = {kComposed, kFused};

// Both forms, on every device that there is.
const std::vector<Form>& forms() {
  static const std::vector<Form> all = [] {
    std::vector<Form> found(kCpuForms.begin(), kCpuForms.end());
    if (gpu_report().problem.empty())
      for (const Form& form : kCpuForms)
        found.push_back({form.name + " on the GPU", form.loss, Device::cuda});
    return found;
  }();
  return all;
}

// Loss, terms and gradients of one call.
struct Result {
  double loss;
  std::array<double, 4> terms;
  std::vector<double> dz, dw, assignment;
};

Result run(const Form& form, const Tensor& z, const Tensor& w, const Tensor& labels,
           const Options& options, const Tensor& usage = {}) {
  const Variable embeddings = Variable::leaf(z.to(form.device));
  const Variable proxies = Variable::leaf(w.to(form.device));
  Tape tape;
  const MultiProxyEntropy out = form.loss(embeddings, proxies, labels.to(form.device), options,
                                          usage.is_defined() ? usage.to(form.device) : Tensor());
  tape.backward(out.loss);
  const auto& [ce, inter, intra, used] = out.terms;
  return {out.loss.value().item(),
          {ce.item(), inter.item(), intra.item(), used.item()},
          embeddings.gradient().to_vector<double>(),
          proxies.gradient().to_vector<double>(),
          out.assignment.to_vector<double>()};
}

// Largest |a - b| / max(1, |b|).
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
    if (!(error <= largest)) largest = error;  // also NaN
  }
  return largest;
}
double distance(const Result& a, const Result& b) {
  const auto all = [](const Result& r) {
    std::vector<double> values = {r.loss};
    values.insert(values.end(), r.terms.begin(), r.terms.end());
    for (const auto* part : {&r.dz, &r.dw, &r.assignment})
      values.insert(values.end(), part->begin(), part->end());
    return values;
  };
  return distance(all(a), all(b));
}

Tensor normal(Shape shape, std::uint64_t seed, double scale = 1, DType dtype = DType::f64) {
  Tensor x(shape, dtype);
  fill_normal(x, Philox(seed, stream_of("multi_proxy_entropy test")), 0, scale);
  return x;
}
Tensor random_labels(std::int64_t rows, std::int64_t classes, std::uint64_t seed) {
  Philox random(seed, stream_of("labels"));
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < rows; ++i)
    labels.push_back(static_cast<std::int32_t>(random.below(classes)));
  return labels_of(labels);
}
// Rows that sum to one, none of them tiny.
Tensor random_usage(std::int64_t classes, std::int64_t proxies, std::uint64_t seed) {
  return softmax(Variable(normal({classes, proxies}, seed))).value();
}

Options options_of(const nlohmann::json& o) {
  Options out;
  const auto optional = [&](const char* key) {
    return o[key].is_null() ? std::optional<double>() : o[key].get<double>();
  };
  out.sigma = o["sigma"];
  out.sigma_h = optional("sigma_h");
  out.sigma_a = optional("sigma_a");
  out.gamma = optional("gamma");
  out.margin = o["margin"];
  const std::string select = o["select"];
  out.select = select == "max"    ? ProxySelect::max
               : select == "soft" ? ProxySelect::soft
                                  : ProxySelect::lse;
  out.negatives =
      o["negatives"] == "selected" ? ProxyNegatives::selected : ProxyNegatives::all_proxies;
  out.inter = o["inter"] == "all" ? InterClasses::all : InterClasses::complement;
  out.weight_inter = o["weight_inter"];
  out.weight_intra = o["weight_intra"];
  out.weight_usage = o["weight_usage"];
  out.normalise_entropy = o["normalise_entropy"];
  out.detach_selection = o["detach_selection"];
  return out;
}

// Any options, scales from 1 to 30.
Options random_options(Philox& random) {
  const auto scale = [&] { return std::exp(random.uniform(0, 3.4)); };
  const auto maybe = [&] {
    return random.below(2) ? std::optional<double>(scale()) : std::nullopt;
  };
  Options o;
  o.sigma = scale();
  o.sigma_h = maybe();
  o.sigma_a = maybe();
  if (random.below(2)) o.gamma = random.uniform(0.02, 1);
  o.margin = random.below(2) ? random.uniform(0, 0.5) : 0;
  o.select = static_cast<ProxySelect>(random.below(3));
  o.negatives = static_cast<ProxyNegatives>(random.below(2));
  o.inter = static_cast<InterClasses>(random.below(2));
  o.weight_inter = random.uniform();
  o.weight_intra = random.uniform();
  o.weight_usage = random.below(2) ? random.uniform() : 0;
  o.normalise_entropy = random.below(2);
  o.detach_selection = random.below(2);
  return o;
}

Options without_entropies() { return {.weight_inter = 0, .weight_intra = 0}; }

Variable unit_rows(const Variable& x) {
  return normalize_rows(reshape(x, {x.value().numel() / x.shape()[-1], x.shape()[-1]}));
}

// ProxyNCA++'s ProxyNCA_prob: cross-entropy over -|3 z/|z| - 3 w/|w||^2, the true class included.
Variable proxy_nca(const Variable& z, const Variable& w, const Tensor& labels) {
  const std::int64_t B = z.dim(0), C = w.dim(0), D = z.dim(1);
  const Variable from = reshape(3 * unit_rows(z), {B, 1, D}), to = 3 * unit_rows(w);
  return cross_entropy(-sum_last(square(from - reshape(to, {1, C, D}))), labels);
}

// SoftTriple without its regulariser: cross-entropy over
// sigma (sum_k softmax_k(s / gamma) s_k - margin [c = y]).
Variable soft_triple(const Variable& z, const Variable& w, const Tensor& labels, double sigma,
                     double gamma, double margin) {
  const std::int64_t B = z.dim(0), C = w.dim(0), K = w.dim(1);
  const Variable s = reshape(matmul(unit_rows(z), unit_rows(w), {.transpose_b = true}), {B, C, K});
  const Variable relaxed = sum_last(softmax(s / gamma) * s);
  const Tensor margins = pick_backward(Tensor::full({B}, z.dtype(), margin), labels, C);
  return cross_entropy(sigma * (relaxed - margins), labels);
}

Result run_baseline(const std::function<Variable(const Variable&, const Variable&)>& loss,
                    const Tensor& z, const Tensor& w) {
  const Variable embeddings = Variable::leaf(z), proxies = Variable::leaf(w);
  Tape tape;
  const Variable value = loss(embeddings, proxies);
  tape.backward(value);
  return {value.value().item(),
          {},
          embeddings.gradient().to_vector<double>(),
          proxies.gradient().to_vector<double>(),
          {}};
}

}  // namespace

TEST_SUITE("multi_proxy_entropy") {
  TEST_CASE("losses, terms and gradients equal the definition's") {
    const SafetensorsFile golden =
        read_safetensors(PROXENT_SOURCE_DIR "/tests/golden/multi_proxy_entropy.safetensors");
    int cases = 0;
    for (const auto& [name, text] : golden.metadata) {
      if (name == "numpy") continue;
      ++cases;
      const auto tensor = [&, prefix = name + "."](const char* part) {
        const auto found = golden.tensors.find(prefix + part);
        return found == golden.tensors.end() ? Tensor() : found->second;
      };
      const auto values = [&](const char* part) { return tensor(part).to_vector<double>(); };
      for (const Form& form : forms()) {
        INFO(name, " ", form.name);
        const Result got = run(form, tensor("embeddings"), tensor("proxies"), tensor("labels"),
                               options_of(nlohmann::json::parse(text)), tensor("usage"));
        // 1e-12: a few hundred roundings of numbers up to 100.
        CHECK(std::abs(got.loss - tensor("loss").item()) < 1e-12);
        CHECK(distance({got.terms.begin(), got.terms.end()}, values("terms")) < 1e-12);
        CHECK(distance(got.dz, values("dz")) < 1e-12);
        CHECK(distance(got.dw, values("dw")) < 1e-12);
      }
    }
    CHECK(cases == 25);
  }

  TEST_CASE("fused equals composed for any options and sizes") {
    const std::vector<std::array<std::int64_t, 4>> sizes = {
        {5, 7, 3, 6},   {1, 7, 2, 4},   {4, 1, 3, 4},  {4, 1, 1, 2},   {3, 2, 4, 3},  {2, 5, 1, 1},
        {3, 293, 2, 5}, {2, 257, 1, 3}, {2, 97, 3, 2}, {3, 17, 19, 4}, {40, 9, 33, 3}};
    Philox random(3, stream_of("options"));
    for (int round = 0; round < 132; ++round) {
      const auto [B, C, K, D] = sizes[round % sizes.size()];
      const Options o = random_options(random);
      INFO("round ", round, ", B ", B, " C ", C, " K ", K, " D ", D);
      const Tensor z = normal({B, D}, 2 * round, 2), w = normal({C, K, D}, 2 * round + 1);
      const Tensor labels = random_labels(B, C, round), usage = random_usage(C, K, round);
      const Result want = run(kComposed, z, w, labels, o, usage);
      const double sigma = std::max({o.sigma, o.sigma_h.value_or(0), o.sigma_a.value_or(0)});
      const double gamma = o.gamma.value_or(o.select == ProxySelect::soft ? 0.1 : 1 / o.sigma);
      for (const Form& form : forms()) {
        INFO(form.name);
        CHECK(distance(run(form, z, w, labels, o, usage), want) < 1e-11);
        // In float: similarities are right to 1e-7, logits to sigma times that, gradients to sigma
        // times that again.
        const Result single =
            run(form, z.to(DType::f32), w.to(DType::f32), labels, o, usage.to(DType::f32));
        // A nearly equal pair may swap places in float, and then `max` takes another branch.
        if (o.select != ProxySelect::max)
          CHECK(distance(single, want) < 1e-6 * (1 + sigma * std::max(sigma, 1 / gamma)));
      }
    }
  }

  TEST_CASE("more proxies than a tile of the GPU's") {
    const std::int64_t B = 3, C = 300, K = 3, D = 4096;  // 29 MB
    const Tensor z = normal({B, D}, 47), w = normal({C, K, D}, 48);
    const Tensor labels = labels_of({7, kIgnoredLabel, 299});
    const Result want = run(kFused, z, w, labels, {});
    for (const Form& form : forms()) {
      INFO(form.name);
      CHECK(distance(run(form, z, w, labels, {}), want) < 1e-12);
      if (!form.name.starts_with("fused")) continue;
      const MultiProxyEntropy unrecorded =
          form.loss(z.to(form.device), w.to(form.device), labels.to(form.device), {}, {});
      CHECK(unrecorded.loss.value().item() == doctest::Approx(want.loss).epsilon(1e-13));
    }
  }

  TEST_CASE("one proxy without entropies is ProxyNCA++") {
    const Tensor z = normal({6, 5}, 1), w = normal({9, 1, 5}, 2), labels = random_labels(6, 9, 3);
    const Result want = run_baseline(
        [&](const Variable& a, const Variable& b) { return proxy_nca(a, b, labels); }, z, w);
    for (const Form& form : forms())
      for (const auto select : {ProxySelect::lse, ProxySelect::max, ProxySelect::soft}) {
        INFO(form.name);
        Options o = without_entropies();
        o.select = select;
        const Result got = run(form, z, w, labels, o);
        CHECK(got.loss == doctest::Approx(want.loss).epsilon(1e-13));
        CHECK(distance(got.dz, want.dz) < 1e-13);
        CHECK(distance(got.dw, want.dw) < 1e-13);
        CHECK(got.terms[2] == 0);  // one proxy has no entropy
      }
  }

  TEST_CASE("soft selection without entropies is SoftTriple without its regulariser") {
    const Tensor z = normal({6, 5}, 4), w = normal({9, 4, 5}, 5), labels = random_labels(6, 9, 6);
    const Result want =
        run_baseline([&](const Variable& a,
                         const Variable& b) { return soft_triple(a, b, labels, 20, 0.1, 0.01); },
                     z, w);
    Options o = without_entropies();
    o.select = ProxySelect::soft, o.sigma = 20, o.margin = 0.01;  // gamma 0.1 is the default
    for (const Form& form : forms()) {
      INFO(form.name);
      const Result got = run(form, z, w, labels, o);
      CHECK(got.loss == doctest::Approx(want.loss).epsilon(1e-13));
      CHECK(distance(got.dz, want.dz) < 1e-13);
      CHECK(distance(got.dw, want.dw) < 1e-13);
    }
  }

  TEST_CASE(
      "lse at 1/sigma is one softmax over all proxies, and its entropy splits by the chain rule") {
    const std::int64_t B = 4, C = 6, K = 3, D = 5;
    const Tensor z = normal({B, D}, 7), w = normal({C, K, D}, 8), labels = random_labels(B, C, 9);
    const double sigma = 7;
    const Variable s = matmul(unit_rows(z), unit_rows(w), {.transpose_b = true});  // (B, CK)
    const Variable log_joint = log_softmax(sigma * s);
    const Variable S = log_sum_exp(reshape(log_joint, {B, C, K}));  // log p(c)
    // H(c, k) = H(c) + sum_c p(c) H(k | c)
    const Variable within = log_softmax(reshape(sigma * s, {B, C, K}));
    const Variable entropy_within = -sum_last(exp(within) * within);
    const double joint = mean(-sum_last(exp(log_joint) * log_joint)).value().item();
    const double spread = mean(sum_last(exp(S) * entropy_within)).value().item();
    for (const Form& form : forms()) {
      INFO(form.name);
      const Result got = run(form, z, w, labels, {.sigma = sigma, .sigma_a = sigma});
      CHECK(got.terms[0] == doctest::Approx(mean(-pick(S, labels)).value().item()).epsilon(1e-13));
      CHECK(got.terms[1] + spread == doctest::Approx(joint).epsilon(1e-13));
      // The intra term is H(k | c) at the true class, where its softmax has the same scale.
      const double own = mean(pick(entropy_within, labels)).value().item();
      CHECK(got.terms[2] == doctest::Approx(own).epsilon(1e-13));
    }
  }

  TEST_CASE("with one scale and no margin the loss is a damped log-sum-exp") {
    // L = (1 - lambda_h) LSE(a) - a_y + lambda_h E_p[a] + lambda_a H_intra
    const std::int64_t B = 5, C = 8, K = 2, D = 4;
    const Tensor z = normal({B, D}, 10), w = normal({C, K, D}, 11),
                 labels = random_labels(B, C, 12);
    const double sigma = 9, lambda = 0.3;
    const Variable s = matmul(unit_rows(z), unit_rows(w), {.transpose_b = true});
    const Variable a = sigma * max_last(reshape(s, {B, C, K}));
    const Variable damped =
        (1 - lambda) * log_sum_exp(a) - pick(a, labels) + lambda * sum_last(softmax(a) * a);
    for (const Form& form : forms()) {
      INFO(form.name);
      const Result got = run(form, z, w, labels,
                             {.sigma = sigma, .select = ProxySelect::max, .weight_inter = lambda});
      const double want = mean(damped).value().item() + 0.1 * got.terms[2];
      CHECK(got.loss == doctest::Approx(want).epsilon(1e-13));
    }
  }

  TEST_CASE("identical proxies get no gradient from the intra-class entropy") {
    const std::int64_t C = 5, K = 4, D = 6;
    const Tensor z = normal({3, D}, 13), labels = random_labels(3, C, 14);
    const Tensor one = normal({C, 1, D}, 15);
    const Tensor w = broadcast_to(one, {C, K, D});
    for (const Form& form : forms()) {
      INFO(form.name);
      Options with = without_entropies();
      with.weight_intra = 1;
      const Result plain = run(form, z, w, labels, without_entropies());
      const Result got = run(form, z, w, labels, with);
      CHECK(got.terms[2] == doctest::Approx(std::log(4.0)));  // as undecided as can be
      CHECK(distance(got.dz, plain.dz) < 1e-14);
      CHECK(distance(got.dw, plain.dw) < 1e-14);
    }
  }

  TEST_CASE("a class that stands alone in its tile hides no rivals, however sharp the softmax") {
    // Of the fused kernel's two tiles the second holds the own class alone: it says nothing of
    // others, whose similarities, -0.5, are below the 0 that stands there.
    const std::int64_t C = 257;
    Tensor w({C, 1, 2}, DType::f64);
    for (std::int64_t c = 0; c < C; ++c) {
      w.data<double>()[2 * c] = -0.5;
      w.data<double>()[2 * c + 1] = std::sqrt(0.75);
    }
    w.data<double>()[2 * C - 2] = -1;
    w.data<double>()[2 * C - 1] = 0;
    Options o = without_entropies();
    o.sigma = 4000;
    for (const Form& form : forms()) {
      INFO(form.name);
      const Tensor z = Tensor::from<double>({1, 2}, {1, 0});
      CHECK(run(form, z, w, labels_of({256}), o).loss ==
            doctest::Approx(4000 * 0.5 + std::log(256.0)).epsilon(1e-12));
    }
  }

  TEST_CASE("the inter-class entropy prefers a finite gap between true class and rivals") {
    // Of C-1 equal rivals, CE - lambda H is smallest at the gap d where p(d) d = 1 / lambda. With
    // C orthogonal proxies an embedding e_y has similarity 1 to its own and 0 to the others, so the
    // gap is sigma, and there the gradient along it is 0.
    const std::int64_t C = 100;
    const double lambda = 0.2;
    double want = 0;  // p(d) d grows with d
    for (double step = 16; step > 1e-9; step /= 2) {
      const double d = want + step, p = 1 / (1 + (C - 1) * std::exp(-d));
      if (p * d < 1 / lambda) want = d;
    }
    CHECK(want == doctest::Approx(6.10).epsilon(0.001));
    Tensor w = Tensor::zeros({C, 1, C}, DType::f64);
    for (std::int64_t c = 0; c < C; ++c) w.data<double>()[c * C + c] = 1;
    const auto loss_at = [&](const Form& form, double gap) {
      const Options o = {.sigma = gap, .weight_inter = lambda};
      return run(form, w.slice(7, 1).reshape({1, C}), w, labels_of({7}), o).loss;
    };
    for (const Form& form : forms()) {
      INFO(form.name);
      CHECK(loss_at(form, want) < loss_at(form, want - 0.1));
      CHECK(loss_at(form, want) < loss_at(form, want + 0.1));
      const double slope = (loss_at(form, want + 1e-4) - loss_at(form, want - 1e-4)) / 2e-4;
      CHECK(std::abs(slope) < 1e-9);  // of rounding: 1e-15 / 2e-4
    }
  }

  TEST_CASE("any scale of inputs and softmaxes is finite") {
    const std::int64_t B = 6, C = 40, K = 3, D = 5;
    const Tensor labels = random_labels(B, C, 16);
    Philox random(17, stream_of("options"));
    for (const Form& form : forms())
      for (const DType dtype : {DType::f32, DType::f64})
        for (const double sigma : {1e-3, 1e3, 1e5})
          for (const double size : {1e-6, 1e6}) {
            Options o = random_options(random);
            o.sigma = sigma, o.sigma_h = o.sigma_a = o.gamma = std::nullopt;
            INFO(form.name, " ", sigma, " ", size);
            const Result got =
                run(form, normal({B, D}, 18, size).to(dtype), normal({C, K, D}, 19, size).to(dtype),
                    labels, o, random_usage(C, K, 20).to(dtype));
            CHECK(std::isfinite(got.loss));
            for (const double g : got.dz) CHECK(std::isfinite(g));
            for (const double g : got.dw) CHECK(std::isfinite(g));
            for (const double term : {got.terms[0], got.terms[1], got.terms[2]}) CHECK(term >= 0);
            CHECK(got.terms[1] <= std::log(double(C)) * (1 + 1e-6));
            CHECK(got.terms[2] <= std::log(double(K)) * (1 + 1e-6));
          }
  }

  TEST_CASE("float stays close to double at a large scale") {
    const Tensor z = normal({6, 32}, 21), w = normal({700, 2, 32}, 22);
    const Tensor labels = random_labels(6, 700, 23);
    const Options o = {.sigma = 200, .margin = 0.1};
    const Result want = run(kFused, z, w, labels, o);
    const Result got = run(kFused, z.to(DType::f32), w.to(DType::f32), labels, o);
    CHECK(std::abs(got.loss - want.loss) < 200 * 1e-6);  // sigma times the error of a similarity
  }

  TEST_CASE("of equally near proxies the first is selected") {
    const std::int64_t D = 3;
    Tensor w = normal({4, 3, D}, 24);
    w.slice(1, 1).reshape({3, D}).slice(2, 1).copy_from(w.slice(1, 1).reshape({3, D}).slice(0, 1));
    const Tensor z = w.slice(1, 1).reshape({3, D}).slice(0, 1).clone();  // on the two equal ones
    Options o = without_entropies();
    o.select = ProxySelect::max;
    for (const Form& form : forms())
      for (const std::int32_t label : {1, 2}) {  // the tie in the own class, and in another
        INFO(form.name, " ", label);
        const Result got = run(form, z, w, labels_of({label}), o);
        // The proxies 0 and 2 of class 1 lie on the embedding: no gradient turns them. The
        // embedding's own shows who was selected: nobody twice.
        Tensor alone = w.clone();
        alone.slice(1, 1).reshape({3, D}).slice(2, 1).fill(-1);
        CHECK(distance(got.dz, run(form, z, alone, labels_of({label}), o).dz) < 1e-14);
      }
    // Off the tie's axis the first of the equal proxies is turned and the second is not.
    const Tensor moved = normal({1, D}, 25);
    for (const Form& form : forms()) {
      INFO(form.name);
      Tensor equal = broadcast_to(normal({4, 1, D}, 26), {4, 3, D});
      const Result got = run(form, moved, equal, labels_of({1}), o);
      for (std::int64_t c = 0; c < 4; ++c)
        for (std::int64_t d = 0; d < D; ++d) {
          CHECK(got.dw[(c * 3 + 0) * D + d] != 0);
          CHECK(got.dw[(c * 3 + 1) * D + d] == 0);
          CHECK(got.dw[(c * 3 + 2) * D + d] == 0);
        }
    }
  }

  TEST_CASE("a zero embedding or proxy is as torch.nn.functional.normalize makes it") {
    Tensor z = normal({3, 4}, 27), w = normal({5, 2, 4}, 28);
    z.slice(1, 1).fill(0);
    w.slice(2, 1).fill(0);
    const Tensor labels = labels_of({0, 2, 2});
    const Result want = run(kComposed, z, w, labels, {});
    const Result got = run(kFused, z, w, labels, {});
    CHECK(std::isfinite(got.loss));
    CHECK(distance(got, want) < 1e-12);
    // dx = dy / 1e-12, and no part of it is projected away.
    CHECK(std::abs(got.dz[4]) > 1e8);
  }

  TEST_CASE("ignored rows add nothing and are not counted") {
    const Tensor z = normal({5, 4}, 29), w = normal({6, 2, 4}, 30);
    const Tensor labels = labels_of({3, kIgnoredLabel, 0, kIgnoredLabel, 3});
    Tensor kept({3, 4}, DType::f64);
    for (const auto& [to, from] : {std::pair{0, 0}, {1, 2}, {2, 4}})
      kept.slice(to, 1).copy_from(z.slice(from, 1));
    for (const Form& form : forms()) {
      INFO(form.name);
      const Result got = run(form, z, w, labels, {});
      const Result want = run(form, kept, w, labels_of({3, 0, 3}), {});
      CHECK(got.loss == doctest::Approx(want.loss).epsilon(1e-14));
      CHECK(distance(got.dw, want.dw) < 1e-14);
      for (int d = 0; d < 4; ++d) {
        CHECK(got.dz[1 * 4 + d] == 0);
        CHECK(got.dz[3 * 4 + d] == 0);
        CHECK(got.dz[4 * 4 + d] == doctest::Approx(want.dz[2 * 4 + d]).epsilon(1e-13));
      }
      CHECK(got.assignment[2] == 0);
    }
  }

  TEST_CASE("no rows at all cost nothing") {
    const Tensor w = normal({6, 2, 4}, 31);
    for (const Form& form : forms()) {
      INFO(form.name);
      for (const Tensor& labels : {labels_of({}), labels_of({kIgnoredLabel, kIgnoredLabel})}) {
        const Result got = run(form, normal({labels.numel(), 4}, 32), w, labels, {});
        CHECK(got.loss == 0);
        CHECK(got.terms == std::array<double, 4>{});
        for (const double g : got.dw) CHECK(g == 0);
      }
    }
  }

  TEST_CASE("two runs and any number of threads give the same bits") {
    const Tensor z = normal({37, 24}, 33, 1, DType::f32),
                 w = normal({613, 3, 24}, 34, 1, DType::f32);
    const Tensor labels = random_labels(37, 613, 35);
    const Result want = run(kFused, z, w, labels, {});
    const int threads = omp_get_max_threads();
    for (const int count : {threads, 1, 2, 5}) {
      INFO(count, " threads");
      omp_set_num_threads(count);
      const Result got = run(kFused, z, w, labels, {});
      omp_set_num_threads(threads);
      CHECK(got.loss == want.loss);
      CHECK(got.dz == want.dz);
      CHECK(got.dw == want.dw);
    }
    // On the GPU for any order of threads, and close to the CPU.
    std::vector<Result> results;
    on_every_device([&](Device device) {
      const Form form{"fused", multi_proxy_entropy, device};
      if (device == Device::cuda) results.push_back(run(form, z, w, labels, {}));
    });
    for (const Result& got : results) {
      CHECK(distance(got, want) < 1e-5);
      CHECK(got.loss == results[0].loss);
      CHECK(got.dz == results[0].dz);
      CHECK(got.dw == results[0].dw);
      CHECK(got.assignment == results[0].assignment);
    }
  }

  TEST_CASE("the usage term pushes embeddings to proxies that were used little") {
    const std::int64_t K = 3, D = 4;
    const Tensor z = normal({1, D}, 36), w = normal({2, K, D}, 37);
    const Tensor even = Tensor::full({2, K}, DType::f64, 1.0 / K);
    const Tensor uneven = Tensor::from<double>({2, K}, {0.9, 0.09, 0.01, 0.9, 0.09, 0.01});
    for (const Form& form : forms()) {
      INFO(form.name);
      Options o = without_entropies();
      o.weight_usage = 1;
      const Result plain = run(form, z, w, labels_of({1}), without_entropies());
      // Even use changes no choice.
      const Result calm = run(form, z, w, labels_of({1}), o, even);
      CHECK(std::abs(calm.terms[3]) < 1e-14);
      CHECK(distance(calm.dz, plain.dz) < 1e-14);
      // A step against the gradient raises the share of the least used proxy.
      o.sigma = 1;
      const Result pushed = run(form, z, w, labels_of({1}), o, uneven);
      Options unweighted = o;
      unweighted.weight_usage = 0;
      const Result base = run(form, z, w, labels_of({1}), unweighted, uneven);
      CHECK(pushed.loss - base.loss == doctest::Approx(pushed.terms[3]));
      Tensor moved = z.clone();
      for (std::int64_t d = 0; d < D; ++d)
        moved.data<double>()[d] -= 0.01 * (pushed.dz[d] - base.dz[d]);
      CHECK(run(form, moved, w, labels_of({1}), o, uneven).terms[3] < pushed.terms[3]);
    }
  }

  TEST_CASE("a decided choice still feels that its proxy is used too much") {
    // One embedding on top of proxy 0, which the class always used; 1 - q_0 is 2e-8.
    const Tensor z = Tensor::from<double>({1, 2}, {1, 1e-3}), labels = labels_of({0});
    const Tensor w = Tensor::from<double>({1, 2, 2}, {1, 0, 0, 1});
    const Tensor uneven = Tensor::from<double>({1, 2}, {1 - 1e-6, 1e-6});
    Options o = without_entropies();
    o.sigma_a = o.sigma;
    o.weight_usage = 1;
    for (const Form& form : forms()) {
      INFO(form.name);
      // r_1 / r_0 = (q_1 / q_0) u_0 / u_1, and the gradient by s_01 - s_00 is sigma (q_1 - r_1).
      const double odds = std::exp(18 * (1e-3 - 1)) * (1 - 1e-6) / 1e-6;
      const double q1 = 1 / (1 + std::exp(18 * (1 - 1e-3))), r1 = odds / (1 + odds);
      const Result got = run(form, z, w, labels, o, uneven);
      // A turn by d moves s_00 by -1e-3 d and s_01 by d, to first order; 1e-5: the length's square.
      CHECK(got.dz[1] == doctest::Approx(18 * (q1 - r1) * (1 + 1e-3)).epsilon(1e-5));
      CHECK(got.dz[1] < -0.2);
    }
  }

  TEST_CASE("usage follows the assignments of the classes that were seen") {
    on_every_device([](Device device) {
      INFO(device);
      Tensor usage = Tensor::full({3, 2}, DType::f64, 0.5, device);
      const Tensor q = Tensor::from<double>({3, 2}, {1, 0, 0, 0, 0.5, 0.5}).to(device);
      update_proxy_usage(q, labels_of({2, kIgnoredLabel, 2}).to(device), 0.1, usage);
      CHECK(distance(usage.to_vector<double>(), {0.5, 0.5, 0.5, 0.5, 0.525, 0.475}) < 1e-15);
      // More rows and proxies than a block has threads.
      const std::int64_t B = 70, C = 5, K = 40;
      const Tensor many = normal({B, K}, 49, 1, DType::f32), labels = random_labels(B, C, 50);
      Tensor want = Tensor::full({C, K}, DType::f32, 0.25), got = want.to(device).clone();
      update_proxy_usage(many, labels, 0.3, want);
      update_proxy_usage(many.to(device), labels.to(device), 0.3, got);
      CHECK(distance(got.to_vector<double>(), want.to_vector<double>()) < 1e-6);
    });
  }

  TEST_CASE("nothing is kept and no matrix stored without a tape") {
    const std::int64_t B = 16, C = 4000, K = 2, D = 8;
    const Tensor z = normal({B, D}, 38, 1, DType::f32), w = normal({C, K, D}, 39, 1, DType::f32);
    const Tensor labels = random_labels(B, C, 40);
    const std::int64_t before = memory_report(Device::cpu).in_use;
    reset_memory_peak(Device::cpu);
    const double loss = multi_proxy_entropy(z, w, labels).loss.value().item();
    CHECK(std::isfinite(loss));
    CHECK(memory_report(Device::cpu).peak - before < B * C * K * 4 / 2 + 400'000);
    CHECK(memory_report(Device::cpu).in_use == before);
  }

  TEST_CASE("an input that wants no gradient gets none") {
    const Tensor z = normal({3, 4}, 41), w = normal({5, 2, 4}, 42), labels = labels_of({0, 1, 4});
    on_every_device([&](Device device) {
      INFO(device);
      const Result both = run({"fused", multi_proxy_entropy, device}, z, w, labels, {});
      const Variable embeddings = Variable::leaf(z.to(device)),
                     proxies = Variable::leaf(w.to(device));
      Tape tape;
      tape.backward(multi_proxy_entropy(embeddings, w.to(device), labels.to(device)).loss);
      CHECK(embeddings.gradient().to_vector<double>() == both.dz);
      tape.backward(multi_proxy_entropy(z.to(device), proxies, labels.to(device)).loss);
      CHECK(proxies.gradient().to_vector<double>() == both.dw);
    });
  }

  TEST_CASE("what does not fit is refused by name") {
    const Tensor z = normal({3, 4}, 43), w = normal({5, 2, 4}, 44), labels = labels_of({0, 1, 4});
    for (const Form& form : kCpuForms) {
      INFO(form.name);
      const auto refuses = [&](const Tensor& a, const Tensor& b, const Tensor& y, const Options& o,
                               const char* text) {
        INFO(text);
        CHECK_THROWS_WITH_AS(form.loss(a, b, y, o, {}), doctest::Contains(text), Error);
      };
      refuses(z, w, labels_of({0, 1, 5}), {},
              "multi_proxy_entropy: label 5 of row 2 is not in 0 .. 4");
      refuses(z, w, labels_of({0, -1, 4}), {},
              "multi_proxy_entropy: label -1 of row 1 is not in 0 .. 4");
      refuses(z, w, labels_of({0, 1}), {}, "expected one i32 label for each of 3 rows");
      refuses(z, normal({5, 2, 3}, 1), labels, {},
              "embeddings (3, 4) and proxies (5, 2, 3) differ in their last size");
      refuses(z, normal({5, 4}, 1), labels, {},
              "proxies must be (classes, proxies per class, dim)");
      refuses(z, normal({5, 0, 4}, 1), labels, {}, "each 1 or more, got (5, 0, 4)");
      refuses(z, w.to(DType::f32), labels, {}, "embeddings are (3, 4) f64 on cpu");
      refuses(normal({4}, 1), w, labels, {}, "embeddings must be (rows, dim)");
      refuses(z, w, labels, {.weight_usage = 1}, "no usage average was given");
    }
    const auto rejects = [&](const Options& o, const char* text) {
      CHECK_THROWS_WITH_AS(o.settings(), doctest::Contains(text), UsageError);
    };
    rejects({.sigma = 0}, "sigma must lie in [1e-06, 1e+06], got 0");
    rejects({.sigma = NAN}, "sigma must lie in [1e-06, 1e+06], got nan");
    rejects({.sigma_h = -1}, "sigma_h must lie");
    rejects({.sigma_a = INFINITY}, "sigma_a must lie");
    rejects({.gamma = 0}, "gamma must lie");
    rejects({.margin = -0.1}, "margin must lie in [0, 1e+06], got -0.1");
    rejects({.weight_inter = -1}, "weight_inter must lie");
    rejects({.weight_intra = NAN}, "weight_intra must lie");
    rejects({.weight_usage = -2}, "weight_usage must lie");
  }

  TEST_CASE("an input that is not a number makes a loss that is not one") {
    for (const Form& form : forms()) {
      INFO(form.name);
      const Tensor labels = labels_of({0, 1});
      for (const bool is_proxy : {false, true}) {
        Tensor z = normal({2, 3}, 45), w = normal({300, 2, 3}, 46);
        (is_proxy ? w.slice(299, 1) : z.slice(1, 1)).fill(NAN);
        CHECK(std::isnan(run(form, z, w, labels, {}).loss));
      }
    }
  }
}

}  // namespace proxent
