// Module: a named tree of layers. Parameters and buffers register themselves where they are
// declared, so a name is written once and serves saving, loading, the optimizer and the error
// trail.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/ops.h"
#include "tensor/random.h"

namespace proxent {

class Module;

// While it lives, the layers that this thread makes hold their initial values on `device`. On
// Device::meta a model of any size takes no memory.
class LayersOn {
 public:
  explicit LayersOn(Device device);
  ~LayersOn();
  LayersOn(const LayersOn&) = delete;
  LayersOn& operator=(const LayersOn&) = delete;

 private:
  Device outer_;
};
// Where layers are made, an f32 tensor that holds `value` everywhere.
Tensor initial_tensor(const Shape& shape, double value = 0);

// What a parameter is for; the optimizer chooses weight decay and learning rate by it.
enum class Role { weight, bias, norm, proxies };

// A trained tensor of a module: a Variable that knows its name.
class Parameter : public Variable {
 public:
  Parameter(Module* owner, std::string name, Role role, Tensor initial);
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  const std::string& name() const { return name_; }  // "weight"
  Role role() const { return role_; }
  Tensor& mutable_value() { return value_; }
  // A parameter that is not trained records nothing and costs no gradient.
  void set_trained(bool is_trained);
  bool is_trained() const { return wants_gradient(); }
  // The value on another device; its gradient is forgotten. Throws if an optimizer gave it a home.
  void move_to(Device device);
  // From now on the value and its gradient live in this memory (an optimizer's flat buffers), also
  // after times without training.
  void move_to(Tensor value_home, Tensor gradient_home);
  // A copy of the value in another dtype, which its owner keeps equal to it: what cast() returns
  // instead of converting anew.
  void set_rounded(Tensor rounded) { rounded_ = std::move(rounded); }

 private:
  std::string name_;
  Role role_;
  Tensor gradient_home_;
};

// A tensor that is saved but not trained: running statistics.
class Buffer {
 public:
  Buffer(Module* owner, std::string name, Tensor initial);
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  const std::string& name() const { return name_; }
  const Tensor& value() const { return value_; }
  Tensor& mutable_value() { return value_; }

 private:
  std::string name_;
  Tensor value_;
};

// "layer1.0.conv1.weight" and what it names.
template <class T>
struct Named {
  std::string path;
  T* item;
};

// True if `path` is that of `module` or of something inside it: "layer1.0.bn1" is below "layer1".
bool is_below(std::string_view path, std::string_view module);

class Module {
 public:
  // The root has no parent and an empty path; its name only appears in trails.
  Module(Module* parent, std::string name);
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // forward(x) inside this module's Scope.
  Variable operator()(const Variable& x);

  const std::string& name() const { return name_; }
  // All below this module, depth first in order of declaration, with paths relative to it.
  std::vector<Named<Parameter>> parameters();
  std::vector<Named<Buffer>> buffers();
  std::vector<Named<Module>> modules();

  // Sets the initial values of this module's own parameters; layers/init.h calls it for a whole
  // tree.
  virtual void initialize(Philox) {}

  // Takes all parameters and buffers of the subtree there; before an optimizer gives them a home.
  void move_to(Device device);

  // Training or evaluation behaviour, for the whole subtree.
  void set_training(bool is_training);
  bool is_training() const { return is_training_; }

  // On: of a call's values backward keeps only x and calls forward() once more (autograd/tape.h,
  // recompute).
  void recompute_in_backward(bool is_on) { is_recomputed_ = is_on; }

 protected:
  // Modules whose call has another shape leave this one out.
  virtual Variable forward(const Variable& x);

 private:
  friend class Parameter;
  friend class Buffer;
  template <class Visit>
  void walk(const std::string& prefix, const Visit& visit);

  std::string name_;
  bool is_training_ = true, is_recomputed_ = false;
  std::vector<Module*> children_;
  std::vector<Parameter*> parameters_;
  std::vector<Buffer*> buffers_;
};

// y = module(x), or a batch norm in one pass with what follows it.
struct ModuleCall {
  const Module& module;
  const Variable& x;
  const Variable& y;
  bool has_relu = false, has_residual = false;  // what that pass did besides
};

// While it lives, it sees every call of a module with one variable in this thread once it has
// returned: inner modules before those that they are in. An inner observer hides an outer one.
class ModuleObserver {
 public:
  using See = std::function<void(const ModuleCall&)>;

  explicit ModuleObserver(See see);
  ~ModuleObserver();
  ModuleObserver(const ModuleObserver&) = delete;
  ModuleObserver& operator=(const ModuleObserver&) = delete;

  // Tells the innermost observer, if any: module(x) does so by itself, a fused call has to.
  static void tell(const ModuleCall& call);

 private:
  See see_;
  ModuleObserver* outer_;
};

}  // namespace proxent
