#include "train/flat_parameters.h"

#include <algorithm>
#include <set>
#include <utility>

namespace proxent {
namespace {

constexpr std::int64_t kAlignment = 64;  // bytes: a cache line, and the widest vector registers

std::int64_t padded(std::int64_t numel, DType dtype) {
  const std::int64_t unit = kAlignment / size_of(dtype);
  return (numel + unit - 1) / unit * unit;
}

}  // namespace

FlatParameters::FlatParameters(std::vector<ParameterGroup> groups) : groups_(std::move(groups)) {
  std::set<std::string> paths;
  std::set<const Parameter*> parameters;
  std::int64_t end = 0;
  for (const ParameterGroup& group : groups_) {
    first_place_.push_back(places_.size());
    first_element_.push_back(end);
    for (const Named<Parameter>& parameter : group.parameters) {
      const Tensor& value = parameter.item->value();
      check(paths.insert(parameter.path).second && parameters.insert(parameter.item).second,
            "optimizer: parameter '", parameter.path, "' is listed twice");
      const Tensor& model = places_.empty() ? value : places_.front().parameter.item->value();
      check(value.dtype() == model.dtype() && value.device() == model.device(),
            "optimizer: parameter '", parameter.path, "' is ", value, " on ", value.device(),
            ", others are ", model.dtype(), " on ", model.device());
      places_.push_back({parameter, end});
      end += padded(value.numel(), value.dtype());
    }
  }
  check(!places_.empty(), "optimizer: no parameter is trained");
  first_place_.push_back(places_.size());
  first_element_.push_back(end);

  const Tensor& model = places_.front().parameter.item->value();
  values_ = Tensor::zeros({end}, model.dtype(), model.device());
  gradients_ = zeros_like_values();
  for (const Place& place : places_) {
    Parameter& parameter = *place.parameter.item;
    parameter.clear_gradient();
    parameter.move_to(values_.view(place.first, parameter.shape()),
                      gradients_.view(place.first, parameter.shape()));
  }
}

std::int64_t FlatParameters::numel(const ParameterGroup& group) const {
  std::int64_t numel = 0;
  for (const Named<Parameter>& parameter : group.parameters)
    numel += parameter.item->shape().numel();
  return numel;
}

Tensor FlatParameters::zeros_like_values() const {
  return Tensor::zeros(values_.shape(), values_.dtype(), values_.device());
}

void FlatParameters::keep_rounded(DType dtype) {
  rounded_.resize(groups_.size());
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    const auto& parameters = groups_[group].parameters;
    if (std::none_of(parameters.begin(), parameters.end(),
                     [](const auto& named) { return named.item->role() == Role::weight; }))
      continue;
    rounded_[group] = Tensor(group_of(values_, group).shape(), dtype, values_.device());
    for (std::size_t i = first_place_[group]; i < first_place_[group + 1]; ++i) {
      Parameter& parameter = *places_[i].parameter.item;
      parameter.set_rounded(
          rounded_[group].view(places_[i].first - first_element_[group], parameter.shape()));
    }
  }
  rounded_version_ = ~values_.storage()->version();
}

Tensor FlatParameters::rounded_of(std::size_t group) const {
  return rounded_.empty() ? Tensor() : rounded_[group];
}

void FlatParameters::refresh_rounded(bool is_written) {
  const std::uint32_t version = values_.storage()->version();
  if (rounded_.empty() || version == rounded_version_) return;
  for (std::size_t group = 0; !is_written && group < groups_.size(); ++group)
    if (rounded_[group].is_defined()) rounded_[group].copy_from(group_of(values_, group));
  rounded_version_ = version;
}

Tensor FlatParameters::group_of(const Tensor& row, std::size_t group) const {
  const std::int64_t first = first_element_[group];
  return row.slice(first, first_element_[group + 1] - first);
}

void FlatParameters::zero_gradients() {
  for (const Place& place : places_) place.parameter.item->clear_gradient();
}

Tensor FlatParameters::gathered_gradients(std::size_t group) {
  for (std::size_t i = first_place_[group]; i < first_place_[group + 1]; ++i) {
    const Place& place = places_[i];
    const Parameter& parameter = *place.parameter.item;
    check(parameter.value().storage() == values_.storage(), "optimizer: parameter '",
          place.parameter.path, "' was moved elsewhere, to another optimizer");
    const bool has_gradient = parameter.is_trained() && parameter.gradient().is_defined();
    if (!has_gradient) gradients_.view(place.first, parameter.shape()).fill(0);
  }
  return group_of(gradients_, group);
}

TensorMap FlatParameters::named(const Tensor& row, const std::string& prefix) const {
  TensorMap tensors;
  for (const Place& place : places_)
    tensors.emplace(prefix + place.parameter.path,
                    row.view(place.first, place.parameter.item->shape()));
  return tensors;
}

}  // namespace proxent
