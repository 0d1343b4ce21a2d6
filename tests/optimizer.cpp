#include "train/optimizer.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <limits>

#include "tensor/optimizer_step.h"
#include "tests/devices.h"
#include "train/checkpoint.h"
#include "train/weight_average.h"

namespace proxent {
namespace {

using Kind = OptimizerOptions::Kind;

Tensor random_tensor(Shape shape, DType dtype, std::uint64_t stream, double low = -1,
                     double high = 1) {
  Tensor x(shape, dtype);
  fill_uniform(x, Philox(11, stream), low, high);
  return x;
}

// Largest |x[i] - expected[i]|.
double worst_error(const Tensor& x, const std::vector<double>& expected) {
  const auto got = x.to_vector<double>();
  REQUIRE(got.size() == expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::abs(got[i] - expected[i]));
  return worst;
}

// A row that begins one element behind a multiple of 16 bytes, or at one.
Tensor row_like(const Tensor& x, Device device, bool is_aligned) {
  Tensor row = Tensor::zeros({x.numel() + 1}, x.dtype(), device);
  Tensor part = row.slice(is_aligned ? 0 : 1, x.numel());
  part.copy_from(x);
  return part;
}

Tensor number(double value, Device device) { return Tensor::full({}, DType::f64, value, device); }

bool is_same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         (a.numel() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

// A small tree with every role: a trunk, a head and a loss's proxies.
struct Layer : Module {
  Layer(Module* parent, std::string name, std::int64_t n, DType dtype, std::uint64_t stream)
      : Module(parent, std::move(name)),
        weight(this, "weight", Role::weight, random_tensor({n, 3}, dtype, stream)),
        bias(this, "bias", Role::bias, random_tensor({n}, dtype, stream + 1)) {}
  Parameter weight, bias;
};
struct Tree : Module {
  explicit Tree(DType dtype = DType::f64)
      : Module(nullptr, "tree"),
        conv(this, "conv", 5, dtype, 1),
        scale(this, "scale", Role::norm, random_tensor({5}, dtype, 3)),
        mean(this, "running_mean", random_tensor({5}, dtype, 4)),
        embedding(this, "embedding", 2, dtype, 5),
        proxies(this, "proxies", Role::proxies, random_tensor({4, 2, 3}, dtype, 7)) {}
  Layer conv;
  Parameter scale;
  Buffer mean;
  Layer embedding;
  Parameter proxies;
};

// Leaves d/dp of sum_p |p|^2 / 2 times `factor`, that is factor * p, on every trained parameter.
void leave_gradients(Module& tree, double factor = 1) {
  for (const auto& [path, parameter] : tree.parameters()) {
    if (!parameter->is_trained()) continue;
    Tape tape;
    const Variable y = square(*parameter);
    tape.backward(y, Tensor::full(y.shape(), y.dtype(), factor / 2));
  }
}

TensorMap values(Module& tree) {
  TensorMap copies;
  for (const auto& [path, parameter] : tree.parameters())
    copies.emplace(path, parameter->value().clone());
  return copies;
}

struct Sgd {
  double rate, decay, momentum;
  bool is_nesterov;
};

// test(dtype, n, is_aligned) for sizes with and without whole packs of 16 bytes.
template <class Test>
void for_rows(const Test& test) {
  for (const DType dtype : {DType::f64, DType::f32})
    for (const std::int64_t n : {0, 1, 17, 10'000})
      for (const bool is_aligned : {true, false}) {
        INFO(dtype, ", ", n, is_aligned ? "" : " shifted");
        test(dtype, n, is_aligned);
      }
}
template <class Test>
void for_rows_on_every_device(const Test& test) {
  on_every_device([&](Device device) {
    INFO(device);
    for_rows(
        [&](DType dtype, std::int64_t n, bool is_aligned) { test(device, dtype, n, is_aligned); });
  });
}

TEST_SUITE("optimizer") {
  TEST_CASE("sgd_step follows torch.optim.SGD's formula") {
    for (const Sgd& o : {Sgd{0.1, 0, 0, false}, Sgd{0.1, 0.2, 0, false}, Sgd{0.1, 0.2, 0.9, false},
                         Sgd{0.1, 0.2, 0.9, true}})
      for_rows_on_every_device([&](Device device, DType dtype, std::int64_t n, bool is_aligned) {
        const Tensor start = random_tensor({n}, dtype, 1);
        Tensor x = row_like(start, device, is_aligned);
        Tensor v = Tensor::zeros({n}, dtype, device);
        auto expected = x.to_vector<double>();
        std::vector<double> velocity(expected.size(), 0.0);
        for (int step = 0; step < 3; ++step) {
          const Tensor g = row_like(random_tensor({n}, dtype, 10 + step), device, is_aligned);
          sgd_step({.learning_rate = o.rate,
                    .weight_decay = o.decay,
                    .momentum = o.momentum,
                    .is_nesterov = o.is_nesterov,
                    .gradient_scale = 0.5},
                   g, x, v);
          const auto gradient = g.to_vector<double>();
          for (std::size_t i = 0; i < expected.size(); ++i) {
            const double slope = 0.5 * gradient[i] + o.decay * expected[i];
            velocity[i] = o.momentum * velocity[i] + slope;
            expected[i] -= o.rate * (o.is_nesterov ? slope + o.momentum * velocity[i]
                                     : o.momentum  ? velocity[i]
                                                   : slope);
          }
        }
        // Three steps of a few roundings each, on values of at most 2.
        CHECK(worst_error(x, expected) < (dtype == DType::f64 ? 1e-14 : 2e-6));
      });
  }

  TEST_CASE("adam_step follows torch.optim.AdamW's and Adam's formulas") {
    for (const bool is_decoupled : {true, false})
      for_rows_on_every_device([&](Device device, DType dtype, std::int64_t n, bool is_aligned) {
        const Tensor start = random_tensor({n}, dtype, 1);
        Tensor x = row_like(start, device, is_aligned);
        Tensor m = Tensor::zeros({n}, dtype, device), s = m.clone();
        auto expected = x.to_vector<double>();
        std::vector<double> mean(expected.size(), 0.0), square = mean;
        for (int step = 1; step <= 4; ++step) {
          const Tensor g = row_like(random_tensor({n}, dtype, 10 + step), device, is_aligned);
          adam_step({.learning_rate = 0.01,
                     .weight_decay = 0.3,
                     .beta1 = 0.8,
                     .beta2 = 0.95,
                     .epsilon = 1e-6,
                     .is_decoupled = is_decoupled,
                     .step = step,
                     .gradient_scale = 0.5},
                    g, x, m, s);
          const auto gradient = g.to_vector<double>();
          for (std::size_t i = 0; i < expected.size(); ++i) {
            const double slope = 0.5 * gradient[i] + (is_decoupled ? 0 : 0.3 * expected[i]);
            if (is_decoupled) expected[i] *= 1 - 0.01 * 0.3;
            mean[i] = 0.8 * mean[i] + 0.2 * slope;
            square[i] = 0.95 * square[i] + 0.05 * slope * slope;
            const double mean_hat = mean[i] / (1 - std::pow(0.8, step));
            const double square_hat = square[i] / (1 - std::pow(0.95, step));
            expected[i] -= 0.01 * mean_hat / (std::sqrt(square_hat) + 1e-6);
          }
        }
        CHECK(worst_error(x, expected) < (dtype == DType::f64 ? 1e-13 : 2e-6));
      });
  }

  TEST_CASE("rmsprop_step follows torch.optim.RMSprop's formula") {
    for (const double momentum : {0.0, 0.9})
      for_rows_on_every_device([&](Device device, DType dtype, std::int64_t n, bool is_aligned) {
        Tensor x = row_like(random_tensor({n}, dtype, 1), device, is_aligned);
        Tensor s = Tensor::zeros({n}, dtype, device);
        Tensor v = momentum != 0 ? s.clone() : Tensor();
        auto expected = x.to_vector<double>();
        std::vector<double> square(expected.size(), 0.0), velocity = square;
        for (int step = 0; step < 4; ++step) {
          const Tensor g = row_like(random_tensor({n}, dtype, 10 + step), device, is_aligned);
          rmsprop_step({.learning_rate = 0.01,
                        .weight_decay = 0.3,
                        .alpha = 0.8,
                        .momentum = momentum,
                        .epsilon = 1e-3,
                        .gradient_scale = 0.5},
                       g, x, v, s);
          const auto gradient = g.to_vector<double>();
          for (std::size_t i = 0; i < expected.size(); ++i) {
            const double slope = 0.5 * gradient[i] + 0.3 * expected[i];
            square[i] = 0.8 * square[i] + 0.2 * slope * slope;
            velocity[i] = momentum * velocity[i] + slope / (std::sqrt(square[i]) + 1e-3);
            expected[i] -= 0.01 * velocity[i];
          }
        }
        CHECK(worst_error(x, expected) < (dtype == DType::f64 ? 1e-13 : 2e-6));
      });
  }

  TEST_CASE("numbers in device memory step as those of the host do, bit for bit") {
    for_rows_on_every_device([&](Device device, DType dtype, std::int64_t n, bool) {
      const Tensor g = random_tensor({n}, dtype, 2).to(device);
      const Tensor start = random_tensor({n}, dtype, 1).to(device);
      Tensor x[2], m[2], s[2];
      for (int i : {0, 1}) {
        x[i] = start.clone();
        m[i] = Tensor::zeros({n}, dtype, device), s[i] = m[i].clone();
      }
      const LiveNumber rate(number(0.25, device), 0.5), scale(number(0.5, device));
      const LiveNumber count(number(3, device));
      sgd_step({.learning_rate = 0.125, .momentum = 0.9, .gradient_scale = 0.5}, g, x[0], m[0]);
      sgd_step({.learning_rate = rate, .momentum = 0.9, .gradient_scale = scale}, g, x[1], m[1]);
      CHECK(is_same(x[0].to(Device::cpu), x[1].to(Device::cpu)));
      adam_step({.learning_rate = 0.125, .weight_decay = 0.1, .step = 3, .gradient_scale = 0.5}, g,
                x[0], m[0], s[0]);
      adam_step(
          {.learning_rate = rate, .weight_decay = 0.1, .step = count, .gradient_scale = scale}, g,
          x[1], m[1], s[1]);
      rmsprop_step({.learning_rate = 0.125, .momentum = 0.9, .gradient_scale = 0.5}, g, x[0], m[0],
                   s[0]);
      rmsprop_step({.learning_rate = rate, .momentum = 0.9, .gradient_scale = scale}, g, x[1], m[1],
                   s[1]);
      move_towards(g, 0.125, x[0]);
      move_towards(g, rate, x[1]);
      for (const auto* pair : {x, m, s})
        CHECK(is_same(pair[0].to(Device::cpu), pair[1].to(Device::cpu)));
    });
  }

  TEST_CASE("a step writes rounded values and their average in the same pass") {
    for_rows_on_every_device([&](Device device, DType dtype, std::int64_t n, bool is_aligned) {
      for (const DType half : {DType::bf16, DType::f16}) {
        INFO(half);
        const Tensor g = row_like(random_tensor({n}, dtype, 2), device, is_aligned);
        Tensor x = row_like(random_tensor({n}, dtype, 1), device, is_aligned);
        Tensor m = Tensor::zeros({n}, dtype, device), s = m.clone();
        StepCopies copies{.rounded = row_like(Tensor::zeros({n}, half), device, is_aligned),
                          .average = row_like(random_tensor({n}, dtype, 3), device, is_aligned),
                          .average_share = LiveNumber(number(0.5, device), 0.5)};
        for (const Kind kind : {Kind::sgd, Kind::adam, Kind::rmsprop}) {
          Tensor average = copies.average.clone();
          if (kind == Kind::adam)
            adam_step({.learning_rate = 0.1}, g, x, m, s, copies);
          else if (kind == Kind::rmsprop)
            rmsprop_step({.learning_rate = 0.1}, g, x, m, s, copies);
          else
            sgd_step({.learning_rate = 0.1}, g, x, m, copies);
          CHECK(is_same(copies.rounded.to(Device::cpu), x.to(half).to(Device::cpu)));
          move_towards(x, 0.25, average);
          CHECK(is_same(copies.average.to(Device::cpu), average.to(Device::cpu)));
        }
      }
    });
  }

  TEST_CASE("a gradient scale that is not finite changes nothing") {
    on_every_device([&](Device device) {
      const Tensor g = random_tensor({37}, DType::f32, 2).to(device);
      Tensor x = random_tensor({37}, DType::f32, 1).to(device), m = g.clone(), s = x.clone();
      const Tensor before = x.clone();
      StepCopies copies{.rounded = before.to(DType::f16), .average = g.clone(), .average_share = 1};
      for (const double bad : {double{NAN}, double{INFINITY}}) {
        const LiveNumber scale(number(bad, device));
        sgd_step({.learning_rate = 1, .momentum = 0.9, .gradient_scale = scale}, g, x, m, copies);
        adam_step({.learning_rate = 1, .gradient_scale = scale}, g, x, m, s, copies);
        rmsprop_step({.learning_rate = 1, .gradient_scale = scale}, g, x, m, s, copies);
      }
      CHECK(is_same(x.to(Device::cpu), before.to(Device::cpu)));
      CHECK(is_same(s.to(Device::cpu), before.to(Device::cpu)));
      CHECK(is_same(m.to(Device::cpu), g.to(Device::cpu)));
      CHECK(is_same(copies.average.to(Device::cpu), g.to(Device::cpu)));
      CHECK(is_same(copies.rounded.to(Device::cpu), before.to(DType::f16).to(Device::cpu)));
    });
  }

  TEST_CASE("the norm is exact to double precision and the same for any number of threads") {
    on_every_device([&](Device device) {
      for (const std::int64_t n : {0, 1, 1000, 100'003}) {
        const Tensor x = random_tensor({n}, DType::f32, 3);
        double expected = 0;
        for (const double v : x.to_vector<double>()) expected += v * v;
        const Tensor on_device = x.to(device);
        const double got = sum_of_squares(on_device);
        CHECK(got == doctest::Approx(expected).epsilon(1e-13));
        const int threads = omp_get_max_threads();
        for (const int t : {1, 3}) {
          omp_set_num_threads(t);
          CHECK(sum_of_squares(on_device) == got);
        }
        omp_set_num_threads(threads);
        const Tensor shifted = row_like(x, device, false);
        CHECK(sum_of_squares(shifted) == got);
      }
    });
    on_every_device([&](Device device) {
      const Tensor bad = Tensor::from<float>({2}, {1, std::numeric_limits<float>::infinity()});
      CHECK(std::isinf(sum_of_squares(bad.to(device))));
      // Squares beyond float's range are no overflow.
      const Tensor large = Tensor::full({4}, DType::f32, 1e30, device);
      CHECK(sum_of_squares(large) == doctest::Approx(4e60));
    });
  }

  TEST_CASE("a step is decided from the gradients: clipped, skipped, counted, the loss rescaled") {
    on_every_device([&](Device device) {
      CAPTURE(device);
      const auto row = [&](const std::vector<double>& values) {
        return Tensor::from<double>({std::ssize(values)}, values).to(device);
      };
      StepState state{.loss = row({7}),
                      .squares = row({9, 16, 100}),
                      .moves = row({1, 1, 0}),
                      .counts = row({4, 5, 6}),
                      .loss_scale = row({1, 0, 0}),
                      .norm = row({0}),
                      .scale = row({0})};
      decide_step(0, {}, state);
      CHECK(state.norm.item() == 5);
      CHECK(state.scale.item() == 1);
      decide_step(1, {}, state);
      CHECK(state.scale.item() == 1 / (5 + 1e-6));
      decide_step(10, {}, state);
      CHECK(state.scale.item() == 1);
      CHECK(state.counts.to_vector<double>() == std::vector<double>{7, 8, 6});

      state.loss_scale = row({4, 1, 0});
      const LossScaling scaling{.growth = 2, .backoff = 0.25, .interval = 3};
      const auto decide = [&](double squares, double clip_norm) {
        state.squares.copy_from(row({squares, 16, 100}));
        decide_step(clip_norm, scaling, state);
        return state.loss_scale.to_vector<double>();
      };
      CHECK(decide(9, 0.5) == std::vector<double>{4, 2, 0});
      CHECK(state.norm.item() == 1.25);
      CHECK(state.scale.item() == 0.5 / (1.25 + 1e-6) / 4);
      CHECK(decide(9, 0) == std::vector<double>{8, 0, 0});  // the third in a row
      CHECK(state.scale.item() == 0.25);                    // by which this loss was scaled
      CHECK(decide(9, 0) == std::vector<double>{8, 1, 0});
      for (const double bad : {double{NAN}, double{INFINITY}}) {
        const double before = state.loss_scale.to_vector<double>()[0];
        CHECK(decide(bad, 1)[0] == before / 4);
        CHECK(std::isnan(state.scale.item()));
      }
      CHECK(state.loss_scale.to_vector<double>() == std::vector<double>{0.5, 0, 2});
      CHECK(state.counts.to_vector<double>() == std::vector<double>{10, 11, 6});

      // Clipped by value before: its norm decides about clipping, the other is told.
      state.loss_scale = row({1, 0, 0});
      state.clipped = row({4, 0, 100});
      decide(9, 1);
      CHECK(state.norm.item() == 5);
      CHECK(state.scale.item() == 1 / (2 + 1e-6));
      decide(NAN, 1);  // also where clipping has hidden it
      CHECK(std::isnan(state.scale.item()));
    });
  }

  TEST_CASE("without a changing scale, a step that is not finite halts those after it") {
    on_every_device([&](Device device) {
      const auto row = [&](const std::vector<double>& values) {
        return Tensor::from<double>({std::ssize(values)}, values).to(device);
      };
      StepState state{.loss = row({NAN}),
                      .squares = row({9}),
                      .moves = row({1}),
                      .counts = row({0}),
                      .loss_scale = row({1, 0, 0}),
                      .norm = row({0}),
                      .scale = row({0})};
      const LossScaling never{.interval = 0};
      for (const double skipped : {1, 2}) {
        decide_step(0, never, state);
        CHECK(std::isnan(state.scale.item()));
        CHECK(state.loss_scale.to_vector<double>() == std::vector<double>{1, 0, skipped});
        state.loss.fill(1);
      }
      state.loss_scale.fill(1);
      state.loss_scale.slice(2, 1).fill(0);
      decide_step(0, never, state);
      CHECK(state.scale.item() == 1);
      CHECK(state.counts.item() == 1);
    });
  }

  TEST_CASE("numbers and rows of a step that do not fit are refused") {
    Tensor x = Tensor::zeros({3}, DType::f32), v = x.clone(), s = x.clone();
    const auto refuses = [&](const SgdStep& step, const StepCopies& copies, const char* text) {
      CHECK_THROWS_WITH_AS(sgd_step(step, x, x, v, copies), doctest::Contains(text), Error);
    };
    refuses({.learning_rate = LiveNumber(x)}, {}, "learning_rate must be one f64 on cpu, got (3)");
    refuses({.gradient_scale = LiveNumber(x)}, {}, "gradient_scale must be one f64 on cpu");
    refuses({}, {.rounded = x}, "rounded must be (3) bf16 or f16 on cpu, got (3) f32");
    refuses({}, {.average = Tensor::zeros({3}, DType::f64)}, "sgd_step");
    CHECK_THROWS_WITH_AS(adam_step({.step = 0}, x, x, v, s),
                         doctest::Contains("steps count from 1, got 0"), Error);
    CHECK_THROWS_WITH_AS(sum_of_squares(x, v), doctest::Contains("sum must be one f64"), Error);
    StepState state{.squares = Tensor::zeros({2}, DType::f64), .moves = x};
    CHECK_THROWS_WITH_AS(decide_step(0, {}, state), doctest::Contains("moves must be 2 f64 on cpu"),
                         Error);
  }

  TEST_CASE("roles and paths decide the groups") {
    Tree tree;
    const auto names = [](const std::vector<ParameterGroup>& groups) {
      std::string text;
      for (const auto& group : groups) {
        text += group.name() + ":";
        for (const auto& parameter : group.parameters) text += " " + parameter.path;
        text += "; ";
      }
      return text;
    };
    CHECK(names(group_parameters(tree.parameters(), {.weight_decay = 0.1})) ==
          "backbone: conv.weight; backbone (no decay): scale conv.bias; head: embedding.weight; "
          "head (no decay): embedding.bias; proxies: proxies; ");
    CHECK(names(group_parameters(tree.parameters(), {.weight_decay = 0})) ==
          "backbone: scale conv.weight conv.bias; head: embedding.weight embedding.bias; "
          "proxies: proxies; ");
    CHECK(names(group_parameters(tree.parameters(), {.weight_decay = 0.1,
                                                     .decays_norms = true,
                                                     .decays_biases = true,
                                                     .head_paths = {"emb"}})) ==
          "backbone: scale conv.weight conv.bias embedding.weight embedding.bias; "
          "proxies: proxies; ");

    tree.conv.bias.set_trained(false);
    Optimizer optimizer(group_parameters(tree.parameters(), {.weight_decay = 0.1,
                                                             .head_lr_factor = 2,
                                                             .proxy_lr_factor = 100,
                                                             .proxy_weight_decay = 0.5}),
                        {});
    CHECK(optimizer.table() == std::vector<std::vector<std::string>>{
                                   {"group", "tensors", "elements", "lr factor", "weight decay"},
                                   {"backbone", "1", "15", "1", "0.1"},
                                   {"backbone (no decay)", "1", "5", "1", "0"},
                                   {"head", "1", "6", "2", "0.1"},
                                   {"head (no decay)", "1", "2", "2", "0"},
                                   {"proxies", "1", "24", "100", "0.5"}});
  }

  TEST_CASE("a step moves every parameter by its group's rate and decay") {
    Tree tree;
    Optimizer optimizer(
        group_parameters(tree.parameters(), {.weight_decay = 0.1, .proxy_lr_factor = 10}),
        {.kind = Kind::sgd, .momentum = 0});
    const TensorMap before = values(tree);
    leave_gradients(tree);
    const StepReport report = optimizer.step(0.01);
    double squares = 0;
    for (const auto& [path, parameter] : tree.parameters()) {
      CAPTURE(path);
      const auto old = before.at(path).to_vector<double>();
      const auto now = parameter->value().to_vector<double>();
      const double rate = path == "proxies" ? 0.1 : 0.01;
      const double decay = path.ends_with("weight") ? 0.1 : 0;
      for (std::size_t i = 0; i < old.size(); ++i) {
        CHECK(now[i] == doctest::Approx(old[i] - rate * (1 + decay) * old[i]).epsilon(1e-12));
        CHECK(now[i] != old[i]);
        squares += old[i] * old[i];
      }
    }
    CHECK(report.gradient_norm == doctest::Approx(std::sqrt(squares)).epsilon(1e-12));
    CHECK(report.gradient_scale == 1);
  }

  TEST_CASE("parameters live in one row, and gradients that arrive later replace stale ones") {
    Tree tree;
    Optimizer optimizer(group_parameters(tree.parameters(), {}),
                        {.kind = Kind::sgd, .momentum = 0});
    for (const auto& [path, parameter] : tree.parameters()) {
      CHECK(parameter->value().storage() == optimizer.parameters().values().storage());
      CHECK(reinterpret_cast<std::uintptr_t>(parameter->value().raw()) % 64 == 0);
    }
    leave_gradients(tree);
    CHECK(tree.conv.weight.gradient().storage() == tree.proxies.gradient().storage());
    const double full = optimizer.step(0).gradient_norm;
    // The same again after clearing: nothing was added to what the row still held.
    optimizer.zero_gradients();
    CHECK_FALSE(tree.proxies.gradient().is_defined());
    leave_gradients(tree);
    CHECK(optimizer.step(0).gradient_norm == full);
    // Without clearing, two backward passes add up.
    leave_gradients(tree);
    CHECK(optimizer.step(0).gradient_norm == doctest::Approx(2 * full).epsilon(1e-12));
  }

  TEST_CASE("a parameter that no gradient reached counts as zero gradient") {
    Tree tree;
    Optimizer optimizer(group_parameters(tree.parameters(), {.weight_decay = 0}),
                        {.kind = Kind::sgd, .momentum = 0});
    leave_gradients(tree);
    optimizer.step(0.1);
    optimizer.zero_gradients();
    const TensorMap before = values(tree);
    CHECK(optimizer.step(0.1).gradient_norm == 0);
    for (const auto& [path, parameter] : tree.parameters())
      CHECK(is_same(parameter->value(), before.at(path)));
  }

  TEST_CASE("a held part costs no gradient, keeps still, and goes on where it stood") {
    Tree tree;
    Optimizer optimizer(group_parameters(tree.parameters(), {.weight_decay = 0.1}),
                        {.kind = Kind::adamw});
    leave_gradients(tree);
    optimizer.step(0.01);
    const TensorMap before = values(tree);
    const auto state_before = optimizer.state().at("optimizer.mean.conv.weight").clone();
    optimizer.hold("backbone", true);
    CHECK_FALSE(tree.conv.weight.is_trained());
    CHECK(tree.embedding.weight.is_trained());
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_gradients();
      leave_gradients(tree);
      optimizer.step(0.01);
    }
    for (const char* path : {"conv.weight", "conv.bias", "scale"})
      CHECK(is_same(values(tree).at(path), before.at(path)));
    CHECK_FALSE(is_same(values(tree).at("embedding.weight"), before.at("embedding.weight")));
    CHECK(is_same(optimizer.state().at("optimizer.mean.conv.weight"), state_before));

    optimizer.hold("backbone", false);
    CHECK(tree.conv.weight.is_trained());
    optimizer.zero_gradients();
    leave_gradients(tree);
    CHECK(tree.conv.weight.gradient().storage() == tree.proxies.gradient().storage());
    optimizer.step(0.01);
    CHECK_FALSE(is_same(values(tree).at("conv.weight"), before.at("conv.weight")));
    CHECK(tree.conv.weight.value().storage() == optimizer.parameters().values().storage());
    // Groups: backbone, backbone (no decay), head, head (no decay), proxies.
    CHECK(optimizer.state().at("optimizer.steps").to_vector<double>() ==
          std::vector<double>{2, 2, 4, 4, 4});
  }

  TEST_CASE("clipping by norm scales all gradients together") {
    Tree clipped, plain;
    Optimizer a(group_parameters(clipped.parameters(), {.weight_decay = 0}),
                {.kind = Kind::sgd, .momentum = 0, .clip_norm = 0.5});
    Optimizer b(group_parameters(plain.parameters(), {.weight_decay = 0}),
                {.kind = Kind::sgd, .momentum = 0});
    leave_gradients(clipped);
    const StepReport report = a.step(0.1);
    REQUIRE(report.gradient_norm > 0.5);
    CHECK(report.gradient_scale == doctest::Approx(0.5 / (report.gradient_norm + 1e-6)));
    leave_gradients(plain, report.gradient_scale);
    CHECK(b.step(0.1).gradient_norm == doctest::Approx(0.5).epsilon(1e-5));
    for (const auto& [path, value] : values(plain)) {
      const auto x = value.to_vector<double>(), y = values(clipped).at(path).to_vector<double>();
      for (std::size_t i = 0; i < x.size(); ++i)
        CHECK(x[i] == doctest::Approx(y[i]).epsilon(1e-12));
    }
    // Small gradients are left alone.
    a.zero_gradients();
    leave_gradients(clipped, 1e-3);
    CHECK(a.step(0.1).gradient_scale == 1);
  }

  TEST_CASE("clipping by value bounds every element; the norm is reported from before") {
    Tree tree;
    Optimizer optimizer(group_parameters(tree.parameters(), {.weight_decay = 0}),
                        {.kind = Kind::sgd, .momentum = 0, .clip_value = 0.25});
    const TensorMap before = values(tree);
    leave_gradients(tree);
    double squares = 0;
    const double norm = optimizer.step(1).gradient_norm;
    for (const auto& [path, value] : values(tree)) {
      const auto old = before.at(path).to_vector<double>(), now = value.to_vector<double>();
      for (std::size_t i = 0; i < old.size(); ++i) {
        CHECK(now[i] == doctest::Approx(old[i] - std::clamp(old[i], -0.25, 0.25)).epsilon(1e-12));
        squares += old[i] * old[i];
      }
    }
    CHECK(norm == doctest::Approx(std::sqrt(squares)).epsilon(1e-12));
  }

  TEST_CASE("a gradient that is not finite is named, and nothing moves") {
    Tree tree;
    Optimizer optimizer(group_parameters(tree.parameters(), {}), {.clip_value = 1});
    leave_gradients(tree);
    Tensor gradient = tree.embedding.bias.gradient();
    gradient.data<double>()[1] = std::numeric_limits<double>::quiet_NaN();
    const TensorMap before = values(tree);
    std::string text;
    try {
      optimizer.step(0.1);
    } catch (const NonFiniteError& error) {
      text = error.message();
    }
    CHECK(text ==
          "optimizer: the gradient is not finite in 1 parameters: embedding.bias; no weight was "
          "changed");
    for (const auto& [path, value] : before) CHECK(is_same(value, values(tree).at(path)));
  }

  TEST_CASE("AdamW, Adam, RMSprop, SGD and Nesterov bring a quadratic down") {
    for (const Kind kind : {Kind::sgd, Kind::adam, Kind::adamw, Kind::rmsprop}) {
      Tree tree(DType::f32);
      Optimizer optimizer(group_parameters(tree.parameters(), {}),
                          {.kind = kind, .is_nesterov = kind == Kind::sgd});
      double first = 0, last = 0;
      for (int step = 0; step < 200; ++step) {
        optimizer.zero_gradients();
        leave_gradients(tree);
        last = optimizer.step(0.02).gradient_norm;
        if (step == 0) first = last;
      }
      CHECK(last < 0.05 * first);
    }
  }

  TEST_CASE("state restored into a new optimizer continues bit for bit") {
    for (const Kind kind : {Kind::sgd, Kind::adamw, Kind::rmsprop}) {
      const auto run = [&](int from, int to, Tree& tree, Optimizer& optimizer,
                           WeightAverage& average) {
        for (int step = from; step < to; ++step) {
          optimizer.zero_gradients();
          leave_gradients(tree, 1 + 0.1 * step);
          optimizer.step(0.01);
          average.update();
        }
      };
      const auto state = [](Tree& tree, Optimizer& optimizer, WeightAverage& average) {
        TensorMap tensors = model_state({&tree});
        tensors.merge(optimizer.state());
        tensors.merge(average.state());
        return tensors;
      };
      const GroupingOptions grouping{.weight_decay = 0.1};
      Tree whole, first, second;
      Optimizer a(group_parameters(whole.parameters(), grouping), {.kind = kind});
      WeightAverage average_a(a.parameters(), whole.buffers(), {});
      run(0, 6, whole, a, average_a);

      Optimizer b(group_parameters(first.parameters(), grouping), {.kind = kind});
      WeightAverage average_b(b.parameters(), first.buffers(), {});
      run(0, 3, first, b, average_b);
      TensorMap saved;
      for (const auto& [name, tensor] : state(first, b, average_b))
        saved.emplace(name, tensor.clone());

      Optimizer c(group_parameters(second.parameters(), grouping), {.kind = kind});
      WeightAverage average_c(c.parameters(), second.buffers(), {});
      run(0, 1, second, c, average_c);  // other values, which restoring must replace
      restore(state(second, c, average_c), saved, "saved");
      run(3, 6, second, c, average_c);
      for (const auto& [name, tensor] : state(whole, a, average_a)) {
        CAPTURE(name);
        CHECK(is_same(tensor, state(second, c, average_c).at(name)));
      }
    }
  }

  TEST_CASE("averaged weights follow the formula and change places with the weights") {
    Tree tree;
    Optimizer optimizer(group_parameters(tree.parameters(), {}), {.kind = Kind::sgd});
    WeightAverage average(optimizer.parameters(), tree.buffers(),
                          {.decay = 0.9, .has_warmup = true});
    double weight = tree.proxies.value().to_vector<double>()[5];
    double buffer = tree.mean.value().to_vector<double>()[2];
    for (int n = 1; n <= 100; ++n) {
      leave_gradients(tree);
      optimizer.step(0.001);
      tree.mean.mutable_value().fill(n);
      average.update();
      const double decay = std::min(0.9, (1.0 + n) / (10.0 + n));
      weight += (1 - decay) * (tree.proxies.value().to_vector<double>()[5] - weight);
      buffer += (1 - decay) * (n - buffer);
    }
    const TensorMap before = values(tree);
    {
      const UseAverage use(&average);
      CHECK(average.is_swapped());
      CHECK(tree.proxies.value().to_vector<double>()[5] == doctest::Approx(weight).epsilon(1e-12));
      CHECK(tree.mean.value().to_vector<double>()[2] == doctest::Approx(buffer).epsilon(1e-12));
      CHECK_THROWS_AS(average.update(), Error);
    }
    for (const auto& [path, value] : before) CHECK(is_same(value, values(tree).at(path)));
    CHECK(tree.mean.value().to_vector<double>()[2] == 100);
    const UseAverage nothing(nullptr);
    CHECK_THROWS_AS(WeightAverage(optimizer.parameters(), {}, {.decay = 1}), UsageError);
  }

  TEST_CASE("what cannot be optimized is refused") {
    Tree tree, other;
    const auto groups = group_parameters(tree.parameters(), {});
    CHECK_THROWS_AS(Optimizer({}, {}), Error);
    CHECK_THROWS_AS(Optimizer(groups, {.momentum = 1}), UsageError);
    CHECK_THROWS_AS(Optimizer(groups, {.beta2 = -0.1}), UsageError);
    CHECK_THROWS_AS(Optimizer(groups, {.alpha = 1}), UsageError);
    CHECK_THROWS_AS(Optimizer(groups, {.epsilon = 0}), UsageError);
    CHECK_THROWS_AS(Optimizer(groups, {.clip_norm = -1}), UsageError);
    CHECK_THROWS_AS(Optimizer(groups, {.momentum = 0, .is_nesterov = true}), UsageError);
    CHECK_THROWS_AS(Optimizer({{"a", -1, 0, false, other.parameters()}}, {}), UsageError);
    auto twice = tree.parameters();
    twice.push_back(twice.front());
    CHECK_THROWS_AS(Optimizer({{"a", 1, 0, false, twice}}, {}), Error);
    auto mixed = tree.parameters();
    Tree single(DType::f32);
    mixed.push_back({"single", &single.proxies});
    CHECK_THROWS_AS(Optimizer({{"a", 1, 0, false, mixed}}, {}), Error);

    Optimizer optimizer(groups, {});
    CHECK_THROWS_AS(optimizer.step(-1), Error);
    CHECK_THROWS_AS(optimizer.step(NAN), Error);
    const Optimizer thief(groups, {});  // takes the parameters over
    CHECK_THROWS_AS(optimizer.step(0.1), Error);
  }
}

}  // namespace
}  // namespace proxent
