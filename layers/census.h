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
  bool has_relu = false, has_residual = false;  // in the same pass
  bool operator==(const BatchNormCall&) const = default;
};

struct Census {  // in the order of the calls
  std::vector<ConvCall> convolutions;
  std::vector<BatchNormCall> batch_norms;
};
// The calls of a step with `batch` images of size x size pixels. Runs the network, which is in f32
// on the processor, once on one black image; it evaluates meanwhile, so that its running statistics
// stay, and trains again afterwards where it did. Throws what the network does for such an image:
// UsageError where it names a size that it cannot take.
Census census_of(Backbone& net, std::int64_t size, std::int64_t batch);
// The same of a ResNet; throws UsageError for options that it does not take, too.
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
