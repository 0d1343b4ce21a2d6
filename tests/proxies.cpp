// The proxies as a module: start, use, running average, diagnostics.
#include "losses/multi_proxy_entropy_loss.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/proxy_statistics.h"
#include "tensor/random.h"
#include "tests/devices.h"
#include "tests/tensors.h"

namespace proxent {
namespace {
Tensor embeddings_of(std::int64_t rows, std::int64_t dim) {
  Tensor x({rows, dim}, DType::f32);
  fill_normal(x, Philox(1, stream_of("proxies test")), 0, 1);
  return x;
}
double deviation(const Tensor& x) {
  double sum = 0;
  for (const double v : x.to_vector<double>()) sum += v * v;
  return std::sqrt(sum / static_cast<double>(x.numel()));
}
}  // namespace

TEST_SUITE("proxies") {
  TEST_CASE("proxies are a parameter of the loss, drawn one by one from the seed") {
    const ProxyOptions shape{.classes = 50, .per_class = 3, .dim = 64, .seed = 5};
    MultiProxyEntropyLoss loss(nullptr, "loss", shape), same(nullptr, "loss", shape);
    const auto parameters = loss.parameters();
    REQUIRE(parameters.size() == 1);
    CHECK(parameters[0].path == "proxies");
    CHECK(parameters[0].item->role() == Role::proxies);
    CHECK(parameters[0].item->shape() == Shape{50, 3, 64});
    CHECK(loss.buffers().empty());
    CHECK(loss.proxies.value().to_vector<float>() == same.proxies.value().to_vector<float>());
    CHECK(deviation(loss.proxies.value()) == doctest::Approx(1.0 / 8).epsilon(0.03));
    // Independent directions are orthogonal on average; copies would be at 0.
    CHECK(proxy_spread(loss.proxies.value()).mean() == doctest::Approx(1).epsilon(0.05));

    ProxyOptions other = shape;
    other.seed = 6, other.init = ProxyInit::kaiming;
    MultiProxyEntropyLoss kaiming(nullptr, "loss", other);
    CHECK(deviation(kaiming.proxies.value()) ==
          doctest::Approx(std::sqrt(2.0 / 150)).epsilon(0.03));
    CHECK(kaiming.proxies.value().to_vector<float>() != loss.proxies.value().to_vector<float>());

    other.init = ProxyInit::uniform;
    const MultiProxyEntropyLoss uniform(nullptr, "loss", other);
    const double bound = 1 / std::sqrt(150.0);
    CHECK(deviation(uniform.proxies.value()) ==
          doctest::Approx(bound / std::sqrt(3)).epsilon(0.03));
    for (const double x : uniform.proxies.value().to_vector<double>()) CHECK(std::abs(x) <= bound);
  }

  TEST_CASE("training the proxies and embeddings lowers the loss, in both forms alike") {
    const Tensor labels = labels_of({0, 1, 2, 0, 1, 2});
    std::vector<double> last;
    for (const LossForm form : {LossForm::fused, LossForm::composed}) {
      MultiProxyEntropyLoss loss(nullptr, "loss",
                                 {.classes = 3, .per_class = 2, .dim = 8, .form = form},
                                 {.weight_usage = 0.2});
      Tensor z = embeddings_of(6, 8);
      double first = 0, value = 0;
      for (int step = 0; step < 60; ++step) {
        Variable embeddings = Variable::leaf(z);
        Tape tape;
        const Variable y = loss(embeddings, labels);
        tape.backward(y);
        value = y.value().item();
        if (step == 0) first = value;
        double sum = 0;
        for (const auto& term : loss.terms()) sum += term.weight * term.value.item();
        CHECK(sum == doctest::Approx(value));
        for (Tensor* x : {&z, &loss.proxies.mutable_value()}) {
          const Tensor& g = x == &z ? embeddings.gradient() : loss.proxies.gradient();
          for (std::int64_t i = 0; i < x->numel(); ++i)
            x->data<float>()[i] -= 0.02f * g.data<float>()[i];
        }
        loss.proxies.clear_gradient();
      }
      CHECK(value < first - 1);
      last.push_back(value);
    }
    CHECK(last[0] == doctest::Approx(last[1]).epsilon(1e-3));  // 60 steps of float rounding apart
  }

  TEST_CASE("the running use is a buffer that moves in training only") {
    MultiProxyEntropyLoss loss(nullptr, "loss",
                               {.classes = 4, .per_class = 3, .dim = 8, .usage_rate = 0.25},
                               {.weight_usage = 0.3});
    REQUIRE(loss.buffers().size() == 1);
    CHECK(loss.buffers()[0].path == "usage");
    const auto even = loss.usage->value().to_vector<double>();
    CHECK(even[0] == doctest::Approx(1.0 / 3));
    const Tensor labels = labels_of({2, 2, kIgnoredLabel});
    loss.set_training(false);
    loss(embeddings_of(3, 8), labels);
    CHECK(loss.usage->value().to_vector<double>() == even);
    REQUIRE(loss.terms().size() == 4);
    CHECK(loss.terms()[3].weight == 0.3);
    CHECK(std::abs(loss.terms()[3].value.item()) < 1e-6);  // use is even so far

    loss.set_training(true);
    loss(embeddings_of(3, 8), labels);
    const auto q = loss.assignment().to_vector<double>();
    const auto moved = loss.usage->value().to_vector<double>();
    for (int k = 0; k < 3; ++k) {
      CHECK(moved[0 * 3 + k] == even[0]);  // a class without rows stays
      CHECK(moved[2 * 3 + k] ==
            doctest::Approx(0.75 / 3 + 0.25 * (q[k] + q[3 + k]) / 2).epsilon(1e-6));
    }
  }

  TEST_CASE("a skipped step's NaN leaves the running use as it was") {
    on_every_device([](Device device) {
      const float nan = std::nanf("");
      Tensor usage = Tensor::full({3, 2}, DType::f32, 0.5).to(device);
      update_proxy_usage(Tensor::from<float>({3, 2}, {nan, nan, 1, 0, 0.2f, 0.8f}).to(device),
                         labels_of({0, 1, 0}).to(device), 0.5, usage);
      CHECK(usage.to_vector<float>() == std::vector<float>{0.5f, 0.5f, 0.75f, 0.25f, 0.5f, 0.5f});
    });
  }

  TEST_CASE("the report counts dead and effective proxies of the classes seen") {
    ProxyStatistics statistics(3, 2);
    const auto add = [&](const std::vector<double>& q, const std::vector<std::int32_t>& labels) {
      statistics.add(Tensor::from({static_cast<std::int64_t>(labels.size()), 2}, q),
                     labels_of(labels));
    };
    CHECK(statistics.report().classes == 0);
    add({1, 0, 0, 1}, {0, 0});                           // class 0: both, evenly
    add({1, 0, 1, 0, 0.3, 0.7}, {2, 2, kIgnoredLabel});  // class 2: the first alone
    const ProxyReport report = statistics.report();
    CHECK(report.classes == 2);
    CHECK(report.proxies == 4);
    CHECK(report.dead == 1);
    CHECK(report.used_per_class == doctest::Approx(1.5));
    CHECK(report.effective == doctest::Approx((2 + 1) / 2.0));
    CHECK(report.assignment_entropy == 0);
    add({0.5, 0.5}, {2});
    CHECK(statistics.report().assignment_entropy == doctest::Approx(std::log(2.0) / 5));
    const std::vector<double> of_class = statistics.report().entropy_of_class;
    CHECK(of_class[0] == 0);
    CHECK(std::isnan(of_class[1]));
    CHECK(of_class[2] == doctest::Approx(std::log(2.0) / 3));
  }

  TEST_CASE("spread is the cosine distance between proxies of a class, over classes and pairs") {
    const auto mean = [](const Tensor& proxies) { return proxy_spread(proxies).mean(); };
    CHECK(mean(Tensor::from<float>({1, 2, 2}, {3, 0, 0, 5})) == doctest::Approx(1));
    CHECK(mean(Tensor::from<float>({1, 2, 2}, {3, 0, -1, 0})) == doctest::Approx(2));
    CHECK(mean(Tensor::from<double>({2, 2, 1}, {3, 1, 1, 2})) == doctest::Approx(0));
    CHECK(mean(Tensor::from<double>({2, 1, 1}, {3, 1})) == 0);
    // The first class: 1, 1 and 0 between its three; the second: 2, 1 and 1.
    const ProxySpread spread =
        proxy_spread(Tensor::from<double>({2, 3, 2}, {1, 0, 0, 2, 3, 0, /**/ 1, 0, -1, 0, 0, 1}));
    CHECK(spread.of_class[0] == doctest::Approx(2 / 3.0));
    CHECK(spread.of_class[1] == doctest::Approx(4 / 3.0));
    CHECK(spread.mean() == doctest::Approx(1));
    CHECK(spread.least() == spread.of_class[0]);
    CHECK(spread.greatest() == spread.of_class[1]);
    CHECK(spread.closest == doctest::Approx(0));  // the collapsed pair that no mean shows
  }

  TEST_CASE("a shape or option that cannot be is refused") {
    const auto refuses = [](const ProxyOptions& shape, const MultiProxyEntropyOptions& options,
                            const char* text) {
      CHECK_THROWS_WITH_AS(MultiProxyEntropyLoss(nullptr, "loss", shape, options),
                           doctest::Contains(text), UsageError);
    };
    refuses({.classes = 0}, {}, "classes, proxies per class and dim must be 1 or more, got 0, 4");
    refuses({.classes = 3, .per_class = -1}, {}, "got 3, -1 and 512");
    refuses({.classes = 3, .usage_rate = 2}, {}, "usage_rate must lie in [0, 1], got 2");
    refuses({.classes = 3}, {.sigma = -1}, "sigma must lie in");
  }
}

}  // namespace proxent
