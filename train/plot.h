// Curves drawn as SVG, which every browser shows without a library.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace proxent {

struct Curve {
  std::string name;                               // in the legend
  std::vector<std::pair<double, double>> points;  // finite, x rising
};

struct Plot {
  std::string title, x_label;
  std::vector<Curve> curves;
  bool starts_at_zero = false;  // the axis of values, where they are positive
};

// An <svg> element whose texts take the page's colour. Of very long curves every bend stays, not
// every point. With one curve, named as the plot or not at all, there is no legend.
std::string to_svg(const Plot& plot);

}  // namespace proxent
