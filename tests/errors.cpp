// What a person reads when a call is wrong, compared as text.
#include <doctest/doctest.h>

#include <functional>
#include <regex>

#include "autograd/module.h"
#include "autograd/ops.h"
#include "tensor/topk.h"

namespace proxent {
namespace {

// what() of the error that the call throws, with the line number as N; "" if it throws none.
std::string text_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return std::regex_replace(error.what(), std::regex(":[0-9]+$"), ":N");
  }
  return "";
}
// The first part alone.
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

Tensor f32(const Shape& shape) { return Tensor::zeros(shape, DType::f32); }
Tensor i32(const std::vector<std::int32_t>& values) {
  return Tensor::from<std::int32_t>({static_cast<std::int64_t>(values.size())}, values);
}

class Hidden : public Module {
 public:
  explicit Hidden(Module* parent) : Module(parent, "hidden") {}

 protected:
  Variable forward(const Variable& x) override { return matmul(x, f32({5, 7})); }
};
class Mlp : public Module {
 public:
  Mlp() : Module(nullptr, "mlp"), hidden(this) {}
  Hidden hidden;

 protected:
  Variable forward(const Variable& x) override { return hidden(x); }
};
}  // namespace
}  // namespace proxent

TEST_SUITE("errors") {
  using namespace proxent;

  TEST_CASE("message, module trail and place") {
    Mlp mlp;
    CHECK(text_of([&] {
            mlp(f32({4, 6}));
          }) ==
          "matmul: inner sizes differ, a (4, 6) and b (5, 7)\n"
          "  in mlp > hidden\n"
          "  at tensor/matmul.cpp:N");
    CHECK(text_of([] {
            matmul(f32({4, 6}), f32({5, 7}));
          }) ==
          "matmul: inner sizes differ, a (4, 6) and b (5, 7)\n"
          "  at tensor/matmul.cpp:N");
  }

  TEST_CASE("an error during backward names the module of the forward call") {
    struct Broken : Module {
      Broken() : Module(nullptr, "broken") {}
      Variable forward(const Variable& x) override {
        return record("bad_op", x.value(), {{x, [](const Tensor&) { return f32({3}); }}});
      }
    } module;
    const Variable x = Variable::leaf(f32({2, 2}));
    Tape tape;
    const Variable y = module(x);
    CHECK(text_of([&] {
            tape.backward(y, f32({2, 2}));
          }) ==
          "sum_to: (2, 2) does not broadcast to x (3)\n"
          "  in broken > bad_op\n"
          "  at tensor/reduce.cpp:N");
  }

  TEST_CASE("every op says what it expected and what came") {
    const Tensor x = f32({4, 6}), image = f32({2, 5, 5, 3});
    const Tensor wide = Tensor::zeros({4, 6}, DType::f64);
    const std::vector<std::pair<std::string, std::function<void()>>> calls = {
        {"matmul: both sides must be matrices, got a (4, 6) and b (6)",
         [&] { matmul(x, f32({6})); }},
        {"matmul: a is (4, 6) f32 on cpu, b is (4, 6) f64 on cpu", [&] { matmul(x, wide); }},
        {"matmul: inner sizes differ, a (4, 6) transposed and b (4, 6) transposed",
         [&] { matmul(x, x, {.transpose_a = true, .transpose_b = true}); }},
        {"add: shapes do not broadcast, a (4, 6) and b (5, 6)",
         [&] {
           add(x, f32({5, 6}));
         }},
        {"add: a is (4, 6) f32 on cpu, b is (4, 6) f64 on cpu", [&] { add(x, wide); }},
        {"expected dtype f32 or f64, got i32", [&] { exp(i32({1})); }},
        {"normalize_rows: x must be (rows, cols), got (2, 5, 5, 3)",
         [&] { normalize_rows(image); }},
        {"softmax: x must have one axis or more, got a scalar", [&] { softmax(f32({})); }},
        {"log_sum_exp: x must have one axis or more, got a scalar", [&] { log_sum_exp(f32({})); }},
        {"max_last: the last axis must not be empty, got (3, 0)",
         [&] {
           max_last(f32({3, 0}));
         }},
        {"mean_last: the last axis must not be empty, got (3, 0)",
         [&] {
           mean_last(f32({3, 0}));
         }},
        {"layer_norm: gamma must be (6) f32 on cpu, got (4) f32 on cpu",
         [&] { layer_norm(x, f32({4}), {}); }},
        {"layer_norm: beta must be (6) f32 on cpu, got (6) f64 on cpu",
         [&] { layer_norm(x, {}, Tensor({6}, DType::f64)); }},
        {"layer_norm: x must be (rows, cols) with a column or more, got (4, 0)",
         [&] {
           layer_norm(f32({4, 0}), {}, {});
         }},
        {"layer_norm: eps must not be negative, got -1",
         [&] { layer_norm(x, {}, {}, {.eps = -1}); }},
        {"cross_entropy: label 6 of row 2 is not in 0 .. 5",
         [&] {
           cross_entropy(x, i32({0, 5, 6, -1}));
         }},
        {"cross_entropy: label -1 of row 3 is not in 0 .. 5",
         [&] {
           cross_entropy(x, i32({0, 5, -100, -1}));
         }},
        {"cross_entropy: expected one i32 label for each of 4 rows on cpu, got (3) i32 on cpu",
         [&] {
           cross_entropy(x, i32({0, 1, 2}));
         }},
        {"cross_entropy: expected one i32 label for each of 4 rows on cpu, got (4) f32 on cpu",
         [&] { cross_entropy(x, f32({4})); }},
        {"gather_rows: index 4 of row 1 is not in 0 .. 3",
         [&] {
           gather_rows(x, i32({3, 4}));
         }},
        {"gather_rows: index -1 of row 0 is not in 0 .. 3", [&] { gather_rows(x, i32({-1})); }},
        {"pick: index 6 of row 0 is not in 0 .. 5",
         [&] {
           pick(x, i32({6, 0, 0, 0}));
         }},
        {"concatenate: expected one tensor or more, got none",
         [] { concatenate(std::vector<Variable>{}, 0); }},
        {"concatenate: along axis 0, part 1 is (4, 5) f32 on cpu, part 0 is (4, 6) f32 on cpu",
         [&] {
           concatenate({Variable(x), Variable(f32({4, 5}))}, 0);
         }},
        {"concatenate: axis 2 of a tensor (4, 6)", [&] { concatenate({Variable(x)}, 2); }},
        {"slice: entries 3 to 5 of a tensor (4, 6)", [&] { slice_rows(x, 3, 2); }},
        {"sum_to: (5) does not broadcast to x (4, 6)", [&] { sum_to(x, {5}); }},
        {"broadcast_to: x (4, 6) does not broadcast to (4, 12)",
         [&] {
           broadcast_to(x, {4, 12});
         }},
        {"top_k: k must be at least 1, got 0", [&] { top_k(x, 0); }},
    };
    for (const auto& [expected, call] : calls) CHECK(message_of(call) == expected);
  }

  TEST_CASE("a failed call leaves nothing behind") {
    const auto before = memory_report(Device::cpu).in_use;
    for (int i = 0; i < 3; ++i)
      CHECK_THROWS_AS(cross_entropy(f32({4, 6}), i32({9, 9, 9, 9})), Error);
    CHECK(memory_report(Device::cpu).in_use == before);
    CHECK(Scope::trail().empty());
  }
}
