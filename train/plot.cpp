#include "train/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "train/html.h"
#include "train/text.h"

namespace proxent {
namespace {

using Point = std::pair<double, double>;

// In the units of the picture, which the page scales.
constexpr double kWidth = 460, kHeight = 200, kLeft = 58, kRight = 14, kTop = 30, kAxis = 36;
constexpr double kLegendLine = 16, kLetter = 6.4;

// Told apart by people with any colour vision (Okabe and Ito 2008), and on white and black.
constexpr std::array<std::string_view, 6> kColours = {"#0072b2", "#d55e00", "#009e73",
                                                      "#cc79a7", "#e69f00", "#56b4e9"};
std::string stroke(std::size_t curve) {
  const std::array<std::string_view, 3> dashes = {"", " stroke-dasharray=\"6 3\"",
                                                  " stroke-dasharray=\"2 2\""};
  return fmt::format("stroke=\"{}\"{}", kColours[curve % kColours.size()],
                     dashes[curve / kColours.size() % dashes.size()]);
}

// A range of values, drawn from one place to another, with ticks at multiples of `step`: 1, 2 or 5
// times a power of ten.
struct Axis {
  double low = 0, high = 1, step = 0.2;
  double from, to;

  double operator()(double value) const {
    return from + (value - low) / (high - low) * (to - from);
  }
};

Axis axis_over(double low, double high, double from, double to) {
  Axis axis{.from = from, .to = to};
  if (low > high) return axis;  // of nothing
  if (high - low <= 1e-9 * std::max(std::abs(low), std::abs(high))) {
    const double margin = low == 0 ? 1 : std::abs(low) / 10;
    low -= margin, high += margin;
  }
  const double raw = (high - low) / 5, power = std::pow(10, std::floor(std::log10(raw)));
  const double factor = raw <= power ? 1 : raw <= 2 * power ? 2 : raw <= 5 * power ? 5 : 10;
  axis.low = low, axis.high = high, axis.step = factor * power;
  return axis;
}

// Least and greatest point of each of many short stretches, in order: as many as can be seen.
std::vector<Point> thinned(const std::vector<Point>& points) {
  constexpr std::size_t kStretches = 400;
  if (points.size() <= 2 * kStretches) return points;
  std::vector<Point> kept;
  for (std::size_t i = 0; i < kStretches; ++i) {
    const auto first = points.begin() + static_cast<std::ptrdiff_t>(i * points.size() / kStretches);
    const auto last =
        points.begin() + static_cast<std::ptrdiff_t>((i + 1) * points.size() / kStretches);
    const auto [least, greatest] = std::minmax_element(
        first, last, [](const Point& a, const Point& b) { return a.second < b.second; });
    kept.push_back(*std::min(least, greatest));
    if (least != greatest) kept.push_back(*std::max(least, greatest));
  }
  return kept;
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view text,
                    std::string_view more = {}) {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" fill=\"currentColor\"{}>{}</text>\n", x,
      y, anchor, more, html_escaped(text));
}

std::string line_between(double x0, double y0, double x1, double y1, std::string_view how) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x0, y0,
                     x1, y1, how);
}

// The axis up to the next ticks.
Axis rounded_out(Axis axis) {
  axis.low = std::floor(axis.low / axis.step + 1e-9) * axis.step;
  axis.high = std::ceil(axis.high / axis.step - 1e-9) * axis.step;
  return axis;
}

// "50", "0.002", "1,200,000"
std::string tick_text(double value) {
  if (value == std::round(value) && std::abs(value) < 1e15)
    return human_count(static_cast<std::int64_t>(value));
  return fmt::format("{:.4g}", value);
}

// Grid lines with their values, from the least multiple of the step inside the axis.
template <class Draw>
void for_ticks(const Axis& axis, const Draw& draw) {
  for (double i = std::ceil(axis.low / axis.step - 1e-9);
       i * axis.step <= axis.high + 1e-9 * axis.step; ++i)
    draw(axis(i * axis.step), tick_text(i * axis.step));
}

std::string frame(const Axis& x, const Axis& y, std::string_view x_label) {
  const std::string grid = "stroke=\"currentColor\" stroke-opacity=\"0.15\"";
  std::string svg;
  for_ticks(y, [&](double at, const std::string& value) {
    svg += line_between(x.from, at, x.to, at, grid) + text_at(x.from - 6, at + 4, "end", value);
  });
  for_ticks(x, [&](double at, const std::string& value) {
    svg += line_between(at, y.from, at, y.from + 4, "stroke=\"currentColor\"") +
           text_at(at, y.from + 16, "middle", value);
  });
  return svg + line_between(x.from, y.from, x.to, y.from, "stroke=\"currentColor\"") +
         text_at((x.from + x.to) / 2, y.from + 30, "middle", x_label);
}

std::string drawn(const Curve& curve, std::size_t number, const Axis& x, const Axis& y) {
  constexpr std::size_t kFew = 40;  // points that can be told apart get a dot
  const std::vector<Point> points = thinned(curve.points);
  std::string path, dots;
  for (const auto& [at, value] : points) {
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x(at), y(value));
    if (points.size() <= kFew)
      dots += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.2\" fill=\"{}\"><title>{} at {}</title>"
          "</circle>\n",
          x(at), y(value), kColours[number % kColours.size()], fmt::format("{:.5g}", value),
          tick_text(at));
  }
  return fmt::format("<path d=\"{}\" fill=\"none\" stroke-width=\"1.6\" {}/>\n", path,
                     stroke(number)) +
         dots;
}

// Samples with names, as many to a line as fit; `height` grows by what they take.
std::string legend(const std::vector<Curve>& curves, double& height) {
  std::string svg;
  double x = kLeft;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const std::string name = clip(curves[i].name, 60);
    const double width = 30 + kLetter * display_width(name);
    if (x > kLeft && x + width > kWidth) x = kLeft, height += kLegendLine;
    svg += line_between(x, height + 8, x + 16, height + 8, stroke(i) + " stroke-width=\"2\"") +
           text_at(x + 20, height + 12, "start", name);
    x += width;
  }
  height += kLegendLine;
  return svg;
}

}  // namespace

std::string to_svg(const Plot& plot) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Point least{kInfinity, kInfinity}, greatest{-kInfinity, -kInfinity};
  for (const Curve& curve : plot.curves)
    for (const auto& [x, y] : curve.points) {
      least = {std::min(least.first, x), std::min(least.second, y)};
      greatest = {std::max(greatest.first, x), std::max(greatest.second, y)};
    }
  const Axis x = axis_over(least.first, greatest.first, kLeft, kWidth - kRight),
             y = rounded_out(
                 axis_over(plot.starts_at_zero ? std::min(0., least.second) : least.second,
                           greatest.second, kHeight, kTop));
  double height = kHeight + kAxis;
  std::string svg =
      text_at(kLeft, 18, "start", plot.title, " font-weight=\"600\"") + frame(x, y, plot.x_label);
  for (std::size_t i = 0; i < plot.curves.size(); ++i) svg += drawn(plot.curves[i], i, x, y);
  const bool has_legend =
      std::ranges::any_of(plot.curves, [](const Curve& curve) { return !curve.name.empty(); });
  if (has_legend) svg += legend(plot.curves, height);
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" "
             "aria-label=\"{}\" font-family=\"sans-serif\" font-size=\"11.5\">\n",
             kWidth, height + 4, html_escaped(plot.title)) +
         svg + "</svg>\n";
}

}  // namespace proxent
