#include "autograd/module.h"

namespace proxent {
namespace {
std::string joined(const std::string& prefix, const std::string& name) {
  return prefix.empty() || name.empty() ? prefix + name : prefix + "." + name;
}

thread_local ModuleObserver* observer = nullptr;
thread_local Device layers_on = Device::cpu;
}  // namespace

LayersOn::LayersOn(Device device) : outer_(layers_on) { layers_on = device; }
LayersOn::~LayersOn() { layers_on = outer_; }

Tensor initial_tensor(const Shape& shape, double value) {
  return Tensor::full(shape, DType::f32, value, layers_on);
}

bool is_below(std::string_view path, std::string_view module) {
  return path.starts_with(module) && (path.size() == module.size() || path[module.size()] == '.');
}

Parameter::Parameter(Module* owner, std::string name, Role role, Tensor initial)
    : Variable(Variable::leaf(std::move(initial))), name_(std::move(name)), role_(role) {
  owner->parameters_.push_back(this);
}

void Parameter::set_trained(bool is_trained) {
  if (is_trained == wants_gradient()) return;
  cell_ = is_trained ? std::make_shared<GradientCell>(value_) : nullptr;
  if (cell_) cell_->set_home(gradient_home_);
}

void Parameter::move_to(Device device) {
  if (value_.device() == device) return;
  check(!gradient_home_.is_defined(), "parameter ", name_,
        ": an optimizer holds it already; move the model before");
  value_ = value_.to(device);
  if (cell_) cell_ = std::make_shared<GradientCell>(value_);
}

void Parameter::move_to(Tensor value_home, Tensor gradient_home) {
  value_home.copy_from(value_);
  value_ = std::move(value_home);
  gradient_home_ = std::move(gradient_home);
  if (cell_) cell_->set_home(gradient_home_);
}

Buffer::Buffer(Module* owner, std::string name, Tensor initial)
    : name_(std::move(name)), value_(std::move(initial)) {
  owner->buffers_.push_back(this);
}

Module::Module(Module* parent, std::string name) : name_(std::move(name)) {
  if (parent) parent->children_.push_back(this);
}

Variable Module::operator()(const Variable& x) {
  Scope scope(name_);
  Variable y = is_recomputed_
                   ? recompute(x, [this](const Variable& input) { return forward(input); })
                   : forward(x);
  ModuleObserver::tell({.module = *this, .x = x, .y = y});
  return y;
}

Variable Module::forward(const Variable&) {
  fail(name_, ": this module is not called with a single variable");
}

template <class Visit>
void Module::walk(const std::string& prefix, const Visit& visit) {
  visit(prefix, *this);
  for (Module* child : children_) child->walk(joined(prefix, child->name_), visit);
}

std::vector<Named<Parameter>> Module::parameters() {
  std::vector<Named<Parameter>> found;
  walk("", [&](const std::string& prefix, Module& module) {
    for (Parameter* item : module.parameters_)
      found.push_back({joined(prefix, item->name()), item});
  });
  return found;
}

std::vector<Named<Buffer>> Module::buffers() {
  std::vector<Named<Buffer>> found;
  walk("", [&](const std::string& prefix, Module& module) {
    for (Buffer* item : module.buffers_) found.push_back({joined(prefix, item->name()), item});
  });
  return found;
}

std::vector<Named<Module>> Module::modules() {
  std::vector<Named<Module>> found;
  walk("", [&](const std::string& prefix, Module& module) { found.push_back({prefix, &module}); });
  return found;
}

void Module::move_to(Device device) {
  for (const auto& [path, parameter] : parameters()) parameter->move_to(device);
  for (const auto& [path, buffer] : buffers()) buffer->mutable_value() = buffer->value().to(device);
}

void Module::set_training(bool is_training) {
  walk("", [&](const std::string&, Module& module) { module.is_training_ = is_training; });
}

ModuleObserver::ModuleObserver(See see) : see_(std::move(see)), outer_(observer) {
  observer = this;
}
ModuleObserver::~ModuleObserver() { observer = outer_; }

void ModuleObserver::tell(const ModuleCall& call) {
  if (observer) observer->see_(call);
}

}  // namespace proxent
