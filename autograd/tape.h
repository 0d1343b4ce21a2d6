// Reverse-mode differentiation: while a Tape lives, every op that touches a variable with a
// gradient appends a record; backward() walks the records from the last to the first and frees them
// as it goes. No tape, nothing recorded: evaluation needs no "no grad" mode.
#pragma once

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace proxent {

// One input of an op and its gradient, dx = gradient(dy). The lambda captures tensors, never
// variables, so no cycle can arise; it may return dx at a shape that x was broadcast to, the engine
// sums.
struct Edge {
  const Variable& input;
  std::function<Tensor(const Tensor& dy)> gradient;
  // Optional, sum += gradient(dy): called instead where the input has a gradient already that
  // nobody else holds. What can do both at once saves two passes over dx, and its memory.
  std::function<void(const Tensor& dy, Tensor& sum)> add_gradient = {};
};

// For ops whose library call makes all gradients together: one tensor per input, undefined where
// wanted[i] is false. dy is given away: if the op is its only owner, a result may take its memory.
using JointGradient =
    std::function<std::vector<Tensor>(Tensor dy, const std::vector<bool>& wanted)>;
using Inputs = std::initializer_list<std::reference_wrapper<const Variable>>;

// y as a variable. Nothing is recorded, and no lambda kept, where no tape lives or no input wants a
// gradient.
Variable record(std::string_view op, Tensor y, std::initializer_list<Edge> edges);
Variable record(std::string_view op, Tensor y, std::span<const Edge> edges);
Variable record(std::string_view op, Tensor y, Inputs inputs, JointGradient gradients);

struct TapeOptions {
  // Stop at the first value or gradient that is not finite, naming op and module trail
  // (NonFiniteError). Reads every tensor once more: for finding what went wrong, not for every
  // step.
  bool has_nan_guard = false;
};

// y = f(x), of which only x is kept: backward calls f(x) once more and differentiates that, a
// forward pass for the memory of all values inside f (torch.utils.checkpoint; Chen et al. 2016,
// "Training Deep Nets with Sublinear Memory Cost"). The second call must compute what the first one
// did; state that a call moves on, as a batch norm's running statistics, stays while
// is_recomputing().
Variable recompute(const Variable& x, std::function<Variable(const Variable&)> f);
bool is_recomputing();

class Tape {
 public:
  explicit Tape(TapeOptions options = {});
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // Adds d(loss)/d(leaf) to every leaf's gradient. The loss must be one element. Empties the tape.
  void backward(const Variable& loss);
  // The same from the gradient dy of any y; the value of a y that is given away is freed at once.
  void backward(Variable y, Tensor dy);

  std::size_t size() const { return records_.size(); }
  // True if an op with these inputs will be recorded: lets an op skip what only backward needs.
  static bool wants(Inputs inputs);

 private:
  struct Input {
    std::shared_ptr<GradientCell> cell;  // null: wants no gradient
    std::weak_ptr<Storage> storage;      // expired: nobody kept the value
    std::uint32_t version;
    std::function<Tensor(const Tensor&)> gradient;             // empty in joint records
    std::function<void(const Tensor&, Tensor&)> add_gradient;  // may be empty
  };
  struct Record {
    std::string op, trail;
    std::shared_ptr<GradientCell> output;
    std::vector<Input> inputs;
    JointGradient joint;
  };

  friend Variable record(std::string_view, Tensor, std::span<const Edge>);
  friend Variable record(std::string_view, Tensor, Inputs, JointGradient);
  friend Variable recompute(const Variable&, std::function<Variable(const Variable&)>);

  static Input input_of(const Variable& variable);
  static Variable append(std::string_view op, Tensor y, std::vector<Input> inputs,
                         JointGradient joint);
  void run(Record record) const;
  void differentiate(const Record& record, Input& input, const Tensor& dy) const;
  void deliver(const Record& record, const Input& input, Tensor gradient) const;
  void guard(const Record& record, const Tensor& gradient) const;

  TapeOptions options_;
  Tape* outer_;
  std::vector<Record> records_;
};

}  // namespace proxent
