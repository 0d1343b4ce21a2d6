// The engine: what is recorded, what is kept alive, in which order it is freed.
#include <doctest/doctest.h>

#include "autograd/ops.h"

TEST_SUITE("tape") {
  using namespace proxent;

  TEST_CASE("nothing is recorded without a tape or a wish for gradients") {
    const Tensor x = Tensor::full({3}, DType::f64, 2);
    CHECK_FALSE(log(Variable::leaf(x)).wants_gradient());
    Tape tape;
    CHECK_FALSE(log(Variable(x)).wants_gradient());
    CHECK(tape.size() == 0);
  }

  TEST_CASE("a chain of 300,000 ops runs and frees without recursion") {
    for (bool runs_backward : {true, false}) {
      const Variable x = Variable::leaf(Tensor::full({}, DType::f64, 1));
      Tape tape;
      Variable y = x;
      for (int i = 0; i < 300000; ++i) y = shift(y, 1e-6);
      if (runs_backward) {
        tape.backward(y);
        CHECK(x.gradient().item() == 1);
      }
    }
  }

  TEST_CASE("gradients add up over uses and over backward calls") {
    Variable x = Variable::leaf(Tensor::full({2}, DType::f64, 3));
    for (int i = 0; i < 2; ++i) {
      Tape tape;
      tape.backward(sum(x * x + x));
    }
    CHECK(x.gradient().to_vector<double>() == std::vector<double>{14, 14});
    x.clear_gradient();
    CHECK_FALSE(x.gradient().is_defined());
  }

  TEST_CASE("a convolution adds its gradient to one that is there, unless others hold that too") {
    const Variable w = Tensor::full({3, 1, 1, 2}, DType::f64, 1);
    for (const bool is_held : {false, true}) {
      const Variable x = Variable::leaf(Tensor::full({1, 4, 4, 2}, DType::f64, 5));
      Tensor held;
      const std::byte* place = nullptr;
      Tape tape;
      const Variable y = conv2d(x, w);
      const Variable other = record("other", Tensor::zeros({}, DType::f64),
                                    {{x, [&](const Tensor&) {
                                        Tensor gradient = Tensor::full(x.shape(), DType::f64, 10);
                                        place = gradient.raw();
                                        if (is_held) held = gradient;
                                        return gradient;
                                      }}});
      tape.backward(sum(y) + other);
      CHECK(x.gradient().to_vector<double>() == std::vector<double>(32, 13));
      CHECK((x.gradient().raw() == place) == !is_held);
      if (is_held) CHECK(held.to_vector<double>() == std::vector<double>(32, 10));
    }
  }

  TEST_CASE("an unwanted input's side keeps nothing alive") {
    Variable a = Variable::leaf(Tensor::full({1000}, DType::f64, 3));
    const auto before = memory_report(Device::cpu).in_use;
    Tape tape;
    Variable y;
    {
      Variable kept_only_for_b = Tensor::full({100000}, DType::f64, 1);
      Variable big = Tensor::full({100000}, DType::f64, 1);
      y = sum(big) * mean(a) + sum(kept_only_for_b);
    }
    CHECK(memory_report(Device::cpu).in_use - before < 100000);
    tape.backward(y);
    CHECK(a.gradient().to_vector<double>()[0] == doctest::Approx(100));
  }

  TEST_CASE("what is recomputed has the same gradients, and of its values only x is kept") {
    const Tensor start = Tensor::full({1000}, DType::f64, 0.3);
    std::vector<double> dx[2], dw[2];
    std::int64_t kept[2];
    for (const bool is_recomputed : {false, true}) {
      const Variable x = Variable::leaf(start), w = Variable::leaf(start);
      int calls = 0;
      const auto f = [&](const Variable& z) {
        CHECK(is_recomputing() == (++calls == 2));
        Variable y = z;
        for (int i = 0; i < 10; ++i) y = exp(y * w) + z;
        return y;
      };
      Tape tape;
      const std::int64_t before = memory_report(Device::cpu).in_use;
      const Variable y = sum(is_recomputed ? recompute(2 * x, f) : f(2 * x));
      kept[is_recomputed] = memory_report(Device::cpu).in_use - before;
      if (is_recomputed) CHECK(tape.size() == 3);
      tape.backward(y);
      CHECK(calls == (is_recomputed ? 2 : 1));
      dx[is_recomputed] = x.gradient().to_vector<double>();
      dw[is_recomputed] = w.gradient().to_vector<double>();
    }
    CHECK_FALSE(is_recomputing());
    CHECK(dx[0] == dx[1]);
    CHECK(dw[0] == dw[1]);
    CHECK(kept[1] < 20'000);  // 2 x and little else
    CHECK(kept[0] > 20 * 8000);
  }

  TEST_CASE("recomputed parts: inside each other, of a constant, of nothing, without a tape") {
    const Variable w = Variable::leaf(Tensor::full({3}, DType::f64, 2));
    const Variable x = Tensor::full({3}, DType::f64, 5);
    const auto square_times_w = [&](const Variable& z) {
      return recompute(z, [&](const Variable& inner) { return square(inner) * w; });
    };
    CHECK_FALSE(recompute(w, square_times_w).wants_gradient());  // no tape
    Tape tape;
    CHECK_FALSE(recompute(x, [](const Variable& z) { return square(z); }).wants_gradient());
    CHECK(tape.size() == 0);
    tape.backward(sum(recompute(x, square_times_w)));
    CHECK(w.gradient().to_vector<double>() == std::vector<double>(3, 25));
    tape.backward(sum(recompute(w, [&](const Variable&) { return x * w; })));  // past its input
    CHECK(w.gradient().to_vector<double>() == std::vector<double>(3, 30));
  }

  TEST_CASE("the guard names what is not finite inside a recomputed part") {
    const Variable x = Variable::leaf(Tensor::full({2}, DType::f64, 0));
    Tape tape({.has_nan_guard = true});
    const auto in_head = [](const Variable& z) {
      Scope scope("head");
      return sqrt(z);
    };
    const Variable y = sum(recompute(x, in_head));
    CHECK_THROWS_WITH_AS(tape.backward(y), doctest::Contains("sqrt: a gradient is not finite"),
                         NonFiniteError);
    CHECK_FALSE(is_recomputing());
  }

  TEST_CASE("a value edited between forward and backward is refused") {
    Variable x = Variable::leaf(Tensor::full({2}, DType::f64, 3));
    Tape tape;
    const Variable y = sum(square(x));
    Tensor(x.value()).fill(5);
    CHECK_THROWS_WITH_AS(tape.backward(y), doctest::Contains("edited in place"), Error);
  }

  TEST_CASE("the guard names the op and the module of the first gradient that is not finite") {
    Variable x = Variable::leaf(Tensor::full({2}, DType::f64, 0));
    Tape tape({.has_nan_guard = true});
    Variable y;
    {
      Scope scope("head");
      y = sum(sqrt(x));
    }
    CHECK_THROWS_WITH_AS(tape.backward(y),
                         doctest::Contains("sqrt: a gradient is not finite\n  in head"),
                         NonFiniteError);
  }

  TEST_CASE("the guard names the op whose result is not finite") {
    Variable x = Variable::leaf(Tensor::full({2}, DType::f64, 0));
    Tape tape({.has_nan_guard = true});
    Scope scope("head");
    CHECK_THROWS_WITH_AS(log(x), doctest::Contains("log: the result is not finite\n  in head"),
                         NonFiniteError);
  }

  TEST_CASE("a cast rounds forward, and its gradient comes home in the dtype of the source") {
    const Variable weight = Variable::leaf(Tensor::from<float>({2}, {1 + 1.0f / 1024, 3}));
    Tape tape;
    const Variable rounded = cast(weight, DType::bf16);
    CHECK(rounded.dtype() == DType::bf16);
    CHECK(rounded.value().to_vector<float>() == std::vector<float>{1, 3});
    tape.backward(rounded, Tensor::from<float>({2}, {0.5f, 2}).to(DType::bf16));
    CHECK(weight.gradient().dtype() == DType::f32);
    CHECK(weight.gradient().to_vector<float>() == std::vector<float>{0.5f, 2});
    CHECK(cast(weight, DType::f32).value().storage() == weight.value().storage());
  }
}
