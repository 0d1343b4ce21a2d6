#include "autograd/tape.h"

#include <utility>

#include "tensor/pointwise.h"
#include "tensor/reduce.h"

namespace proxent {
namespace {

thread_local Tape* recording = nullptr;
thread_local bool recomputing = false;

// v - v is 0 for finite v and NaN otherwise, and NaN survives the sum.
bool is_finite(const Tensor& x) {
  if (x.device() != Device::cpu) return sum_to(sub(x, x), {}).item() == 0;
  return visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T sum = 0;
    for (std::int64_t i = 0; i < x.numel(); ++i) sum += x.data<T>()[i] - x.data<T>()[i];
    return sum == 0;
  });
}

}  // namespace

Tape::Tape(TapeOptions options) : options_(options), outer_(std::exchange(recording, this)) {}

Tape::~Tape() {
  while (!records_.empty()) records_.pop_back();  // last first, one by one: no recursion
  recording = outer_;
}

bool Tape::wants(Inputs inputs) {
  if (!recording) return false;
  for (const Variable& input : inputs)
    if (input.wants_gradient()) return true;
  return false;
}

Tape::Input Tape::input_of(const Variable& variable) {
  const auto& storage = variable.value().storage();
  return {variable.cell_, storage, storage ? storage->version() : 0, {}, {}};
}

Variable Tape::append(std::string_view op, Tensor y, std::vector<Input> inputs,
                      JointGradient joint) {
  check<NonFiniteError>(!recording->options_.has_nan_guard || is_finite(y), op,
                        ": the result is not finite");
  Variable output = Variable::leaf(std::move(y));
  recording->records_.push_back(
      {std::string(op), Scope::trail(), output.cell_, std::move(inputs), std::move(joint)});
  return output;
}

Variable record(std::string_view op, Tensor y, std::initializer_list<Edge> edges) {
  return record(op, std::move(y), std::span<const Edge>(edges.begin(), edges.size()));
}

Variable record(std::string_view op, Tensor y, std::span<const Edge> edges) {
  if (!recording) return y;
  std::vector<Tape::Input> inputs;
  for (const Edge& edge : edges) {
    if (!edge.input.wants_gradient()) continue;
    inputs.push_back(Tape::input_of(edge.input));
    inputs.back().gradient = edge.gradient;
    inputs.back().add_gradient = edge.add_gradient;
  }
  if (inputs.empty()) return y;
  return Tape::append(op, std::move(y), std::move(inputs), {});
}

Variable record(std::string_view op, Tensor y, Inputs variables, JointGradient gradients) {
  if (!Tape::wants(variables)) return y;
  std::vector<Tape::Input> inputs;
  for (const Variable& variable : variables) inputs.push_back(Tape::input_of(variable));
  return Tape::append(op, std::move(y), std::move(inputs), std::move(gradients));
}

// The first call is under a tape too, which tells whether anything in f wants a gradient.
Variable recompute(const Variable& x, std::function<Variable(const Variable&)> f) {
  if (!recording) return f(x);
  const TapeOptions options = recording->options_;
  Variable y = [&] {
    Tape forgotten(options);
    return f(x);
  }();
  if (!y.wants_gradient()) return y;
  return Tape::append(
      "recompute", y.value(), {Tape::input_of(x)},
      [kept = x.kept(), f = std::move(f), options](Tensor dy, const std::vector<bool>& wanted) {
        struct Again {
          bool outer = std::exchange(recomputing, true);
          ~Again() { recomputing = outer; }
        } again;
        Tape tape(options);
        const Variable x = wanted[0] ? Variable::leaf(kept()) : Variable(kept());
        tape.backward(f(x), std::move(dy));
        if (wanted[0] && !x.gradient().is_defined())  // f does not look at x
          return std::vector{Tensor::zeros(x.shape(), x.dtype(), x.device())};
        return std::vector{wanted[0] ? x.gradient() : Tensor()};
      });
}

bool is_recomputing() { return recomputing; }

void Tape::backward(const Variable& loss) {
  check(loss.value().numel() == 1, "backward: the loss must be one element, got ", loss.value());
  backward(loss, Tensor::full(loss.shape(), loss.dtype(), 1.0, loss.device()));
}

void Tape::backward(Variable y, Tensor dy) {
  check(y.wants_gradient(), "backward: this variable depends on nothing that wants a gradient");
  struct Pause {  // gradients are not themselves recorded
    Tape* tape = std::exchange(recording, nullptr);
    ~Pause() { recording = tape; }
  } pause;
  y.cell_->accumulate("backward", std::move(dy));
  y = {};
  while (!records_.empty()) {
    Record record = std::move(records_.back());
    records_.pop_back();
    run(std::move(record));
  }
}

void Tape::run(Record record) const {
  Tensor dy = record.output->take();
  if (!dy.is_defined()) return;  // a branch that the loss does not depend on
  Scope trail(record.trail);
  Scope scope(record.op);
  for (const Input& input : record.inputs) {
    const auto storage = input.storage.lock();
    check(!storage || storage->version() == input.version, record.op,
          ": an input was edited in place between forward and backward");
  }
  if (!record.joint) {
    for (Input& input : record.inputs) differentiate(record, input, dy);
    return;
  }
  std::vector<bool> wanted;
  for (const Input& input : record.inputs) wanted.push_back(input.cell != nullptr);
  std::vector<Tensor> gradients = record.joint(std::move(dy), wanted);
  record.joint = {};
  check(gradients.size() == record.inputs.size(), record.op, ": expected ", record.inputs.size(),
        " gradients, got ", gradients.size());
  for (std::size_t i = 0; i < gradients.size(); ++i)
    if (wanted[i]) deliver(record, record.inputs[i], std::move(gradients[i]));
}

void Tape::differentiate(const Record& record, Input& input, const Tensor& dy) const {
  if (Tensor* sum = input.add_gradient ? input.cell->own_sum(dy.dtype()) : nullptr) {
    input.add_gradient(dy, *sum);
    guard(record, *sum);
    return;
  }
  Tensor gradient = input.gradient(dy);
  input = {.cell = std::move(input.cell)};  // frees what was kept before the next one is allocated
  deliver(record, input, std::move(gradient));
}

void Tape::deliver(const Record& record, const Input& input, Tensor gradient) const {
  guard(record, gradient);
  input.cell->accumulate(record.op, std::move(gradient));
}

void Tape::guard(const Record& record, const Tensor& gradient) const {
  check<NonFiniteError>(!options_.has_nan_guard || is_finite(gradient), record.op,
                        ": a gradient is not finite");
}

}  // namespace proxent
