// Which convolutions and batch norms a network calls, and on images of which sizes: for what is
// done once per size, such as planning and timing.
#pragma once

#include <utility>
#include <vector>

#include "layers/resnet.h"

namespace proxent {

struct ConvCall {
  Shape x, w;  // (N, H, W, C) and (K, R, S, C)
  Conv2dOptions options;
  bool wants_dx = true;  // false: x is the images
  bool operator==(const ConvCall& other) const {
    return x == other.x && w == other.w && options.stride == other.options.stride &&
           options.padding == other.options.padding && wants_dx == other.wants_dx;
  }
};

struct BatchNormCall {
  Shape x;
  bool has_relu = false, has_residual = false;
  bool operator==(const BatchNormCall&) const = default;
};

struct Census {
  std::vector<ConvCall> convolutions;  // in the order of their calls
  std::vector<BatchNormCall> batch_norms;
};
// Of a step with `batch` images of size x size pixels. Runs the network once, on one image.
Census census_of(Backbone& net, std::int64_t size, std::int64_t batch);
Census census_of(const ResNetOptions& options, std::int64_t size, std::int64_t batch);

// Each item once, in the order of its first occurrence, and how often it occurs.
template <class T>
std::vector<std::pair<T, std::int64_t>> distinct(const std::vector<T>& items) {
  std::vector<std::pair<T, std::int64_t>> found;
  for (const T& item : items) {
    auto place = found.begin();
    while (place != found.end() && !(place->first == item)) ++place;
    if (place == found.end())
      found.emplace_back(item, 1);
    else
      ++place->second;
  }
  return found;
}

}  // namespace proxent
