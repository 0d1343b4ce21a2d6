// A tensor that may want a gradient.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "tensor/tensor.h"

namespace proxent {

// Where the gradient of one variable is gathered during backward.
class GradientCell {
 public:
  explicit GradientCell(const Tensor& value)
      : shape_(value.shape()), dtype_(value.dtype()), device_(value.device()) {}

  // Adds g, which is summed over broadcast axes first. The first arrival is kept as it is, without
  // a copy (unless the cell has a home), later ones are added. Halves become the cell's float.
  // Throws if g's shape, dtype or device cannot be right; `op` names who sent it.
  void accumulate(std::string_view op, Tensor g);

  // What arrived so far, to be added to in place; null if nothing did, if it is of another dtype,
  // or if others hold its memory too.
  Tensor* own_sum(DType dtype);
  const Tensor& gradient() const { return gradient_; }
  Tensor take() { return std::exchange(gradient_, Tensor()); }
  void clear() { gradient_ = Tensor(); }
  // Gradients are gathered in this memory from now on: the optimizer's flat buffer.
  void set_home(Tensor home) { home_ = std::move(home); }

 private:
  Shape shape_;
  DType dtype_;
  Device device_;
  Tensor gradient_, home_;
};

// A value that backward will look at: kept, or made again when it is wanted, which costs time
// instead of memory.
class Kept {
 public:
  Kept(Tensor value) : value_(std::move(value)) {}
  explicit Kept(std::shared_ptr<const std::function<Tensor()>> remake)
      : remake_(std::move(remake)) {}
  Tensor operator()() const { return remake_ ? (*remake_)() : value_; }

 private:
  Tensor value_;
  std::shared_ptr<const std::function<Tensor()>> remake_;
};

// A value and, unless it is a constant, the cell of its gradient. Copies share both.
class Variable {
 public:
  Variable() = default;
  Variable(Tensor value) : value_(std::move(value)) {}  // a constant: any Tensor serves as one
  // A value whose gradient backward shall leave behind.
  static Variable leaf(Tensor value);

  const Tensor& value() const { return value_; }
  // value() in another dtype: the copy that the optimizer keeps of it, where there is one.
  Tensor rounded_to(DType dtype) const {
    return rounded_.is_defined() && rounded_.dtype() == dtype ? rounded_ : value_.to(dtype);
  }
  // What an op that takes this variable keeps of it for backward.
  Kept kept() const { return remake_ ? Kept(remake_) : Kept(value_); }
  // From now on kept() holds no value but this, which must make the same bits in `passes` passes
  // over memory.
  void remake_with(std::function<Tensor()> remake, int passes) {
    remake_ = std::make_shared<const std::function<Tensor()>>(std::move(remake));
    passes_to_remake_ = passes;
  }
  int passes_to_remake() const { return passes_to_remake_; }  // 0 if kept() holds the value
  const Shape& shape() const { return value_.shape(); }
  std::int64_t dim(int i) const { return value_.dim(i); }
  DType dtype() const { return value_.dtype(); }
  Device device() const { return value_.device(); }

  bool wants_gradient() const { return cell_ != nullptr; }
  // The gradient that backward left; undefined if none arrived since the last clear.
  const Tensor& gradient() const;
  void clear_gradient();

 protected:
  friend class Tape;
  Tensor value_;
  std::shared_ptr<GradientCell> cell_;
  std::shared_ptr<const std::function<Tensor()>> remake_;
  int passes_to_remake_ = 0;
  Tensor rounded_;
};

}  // namespace proxent
