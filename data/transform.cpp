#include "data/transform.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

namespace proxent {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // Pillow's, src/libImaging/Resample.c

// For each output position the inputs first .. first+count and their fixed-point weights.
struct Weights {
  struct Window {
    std::int64_t first, count;
  };
  std::vector<Window> windows;
  std::vector<std::int32_t> values;  // `stride` per output position
  std::int64_t stride = 0;
  const std::int32_t* of(std::int64_t i) const { return values.data() + i * stride; }
};

// Halves up. For what is positive or meant to be cut off at 0, as Pillow's (int)(x + 0.5).
std::int64_t rounded(double x) { return static_cast<std::int64_t>(std::floor(x + 0.5)); }

// precompute_coeffs and normalize_coeffs_8bpc of Resample.c, statement for statement: the order of
// the roundings is what makes the result equal.
Weights triangle_weights(std::int64_t in, std::int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double filter_scale = std::max(scale, 1.0), support = filter_scale;
  const double inverse = 1.0 / filter_scale;
  Weights weights;
  weights.stride = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  weights.windows.resize(out);
  weights.values.resize(out * weights.stride);
  std::vector<double> exact(weights.stride);
  for (std::int64_t i = 0; i < out; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(0, rounded(center - support));
    const auto last = std::min(in, rounded(center + support));
    const std::int64_t count = last - first;
    double sum = 0;
    for (std::int64_t k = 0; k < count; ++k) {
      const double x = std::abs((static_cast<double>(k + first) - center + 0.5) * inverse);
      exact[k] = x < 1.0 ? 1.0 - x : 0.0;
      sum += exact[k];
    }
    weights.windows[i] = {first, count};
    for (std::int64_t k = 0; k < count; ++k) {
      if (sum != 0.0) exact[k] /= sum;
      weights.values[i * weights.stride + k] =
          static_cast<std::int32_t>(rounded(exact[k] * (1 << kPrecisionBits)));
    }
  }
  return weights;
}

std::uint8_t to_byte(std::int32_t fixed) {
  return static_cast<std::uint8_t>(std::clamp(fixed >> kPrecisionBits, 0, 255));
}

// Rows of `height` x `width` RGB; `stride` bytes from row to row.
struct Rows {
  const std::uint8_t* first;
  std::int64_t stride, height, width;
};

Image resize_columns(const Rows& in, std::int64_t width) {
  const Weights weights = triangle_weights(in.width, width);
  Image out(in.height, width);
  for (std::int64_t y = 0; y < in.height; ++y) {
    const std::uint8_t* row = in.first + y * in.stride;
    std::uint8_t* to = out.pixel(y, 0);
    for (std::int64_t x = 0; x < width; ++x, to += 3) {
      const auto [first, count] = weights.windows[x];
      const std::int32_t* weight = weights.of(x);
      const std::uint8_t* from = row + first * 3;
      std::int32_t sum[3] = {1 << (kPrecisionBits - 1), 1 << (kPrecisionBits - 1),
                             1 << (kPrecisionBits - 1)};
      for (std::int64_t k = 0; k < count; ++k, from += 3)
        for (int c = 0; c < 3; ++c) sum[c] += from[c] * weight[k];
      for (int c = 0; c < 3; ++c) to[c] = to_byte(sum[c]);
    }
  }
  return out;
}

Image resize_rows(const Rows& in, std::int64_t height) {
  const Weights weights = triangle_weights(in.height, height);
  Image out(height, in.width);
  const std::int64_t length = in.width * 3;
  std::vector<std::int32_t> sums(length);
  for (std::int64_t y = 0; y < height; ++y) {
    const auto [first, count] = weights.windows[y];
    std::fill(sums.begin(), sums.end(), 1 << (kPrecisionBits - 1));
    for (std::int64_t k = 0; k < count; ++k) {
      const std::uint8_t* from = in.first + (first + k) * in.stride;
      const std::int32_t weight = weights.of(y)[k];
      for (std::int64_t i = 0; i < length; ++i) sums[i] += from[i] * weight;
    }
    std::transform(sums.begin(), sums.end(), out.pixel(y, 0), to_byte);
  }
  return out;
}

// Python's round(): halves to the even neighbour.
std::int64_t round_half_even(double x) { return static_cast<std::int64_t>(std::nearbyint(x)); }

CropBox whole(const Image& image) { return {0, 0, image.height, image.width}; }

}  // namespace

Image resize_bilinear(const Image& image, CropBox box, std::int64_t height, std::int64_t width) {
  check(height > 0 && width > 0, "resize: the new size must be positive, got ", width, "x", height);
  check(box.top >= 0 && box.left >= 0 && box.height > 0 && box.width > 0 &&
            box.top + box.height <= image.height && box.left + box.width <= image.width,
        "resize: the box ", box.width, "x", box.height, " at (", box.left, ", ", box.top,
        ") is not inside the picture of ", image.width, "x", image.height);
  if (box.height == height && box.width == width) return crop(image, box);
  const Rows in{image.pixel(box.top, box.left), image.width * 3, box.height, box.width};
  if (box.width == width) return resize_rows(in, height);
  Image narrow = resize_columns(in, width);
  if (box.height == height) return narrow;
  return resize_rows({narrow.pixels.data(), width * 3, narrow.height, width}, height);
}

Image resize_bilinear(const Image& image, std::int64_t height, std::int64_t width) {
  return resize_bilinear(image, whole(image), height, width);
}

Image resize_short_side(const Image& image, std::int64_t size) {
  const std::int64_t short_side = std::min(image.height, image.width);
  check(short_side > 0, "resize: the picture is empty, ", image.width, "x", image.height);
  const auto scaled = [&](std::int64_t side) { return size * side / short_side; };
  // A strip of a pixel's height would become a picture of any size.
  check<DataError>(scaled(image.width) * scaled(image.height) <= DecodeOptions().max_pixels,
                   "resize: a picture of ", image.width, "x", image.height, " becomes one of ",
                   scaled(image.width), "x", scaled(image.height),
                   " pixels where its short side is ", size, "; crop it first, or leave it out");
  return resize_bilinear(image, scaled(image.height), scaled(image.width));
}

Image crop(const Image& image, CropBox box) {
  check(box.height >= 0 && box.width >= 0, "crop: the box must not have a negative size, got ",
        box.width, "x", box.height);
  Image out(box.height, box.width);
  const std::int64_t first = std::max<std::int64_t>(0, -box.left);
  const std::int64_t last = std::min(box.width, image.width - box.left);
  if (first >= last) return out;
  for (std::int64_t y = 0; y < box.height; ++y) {
    const std::int64_t from = y + box.top;
    if (from < 0 || from >= image.height) continue;
    std::copy_n(image.pixel(from, box.left + first), (last - first) * 3, out.pixel(y, first));
  }
  return out;
}

CropBox center_box(std::int64_t height, std::int64_t width, std::int64_t size) {
  // torchvision pads a smaller side first, (size - n) / 2 rounded down before the picture, so the
  // offset into the unpadded picture is minus that.
  const auto offset = [size](std::int64_t n) {
    return n < size ? -((size - n) / 2) : round_half_even(static_cast<double>(n - size) / 2.0);
  };
  return {offset(height), offset(width), size, size};
}

Image flip_horizontal(const Image& image) {
  Image out(image.height, image.width);
  for (std::int64_t y = 0; y < image.height; ++y)
    for (std::int64_t x = 0; x < image.width; ++x)
      std::copy_n(image.pixel(y, image.width - 1 - x), 3, out.pixel(y, x));
  return out;
}

Crop crop_from_name(std::string_view name) {
  for (const Crop crop : {Crop::none, Crop::center, Crop::random, Crop::random_resized})
    if (name == name_of(crop)) return crop;
  fail<UsageError>("crop must be none, center, random or rrc, got ", name);
}

std::string_view name_of(Crop crop) {
  switch (crop) {
    case Crop::none:
      return "none";
    case Crop::center:
      return "center";
    case Crop::random:
      return "random";
    case Crop::random_resized:
      break;
  }
  return "rrc";
}

CropBox random_resized_box(std::int64_t height, std::int64_t width, std::array<double, 2> scale,
                           std::array<double, 2> ratio, Philox& random) {
  const double area = static_cast<double>(height) * static_cast<double>(width);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * random.uniform(scale[0], scale[1]);
    const double aspect = std::exp(random.uniform(std::log(ratio[0]), std::log(ratio[1])));
    const std::int64_t w = round_half_even(std::sqrt(target * aspect));
    const std::int64_t h = round_half_even(std::sqrt(target / aspect));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    const std::int64_t top = random.below(height - h + 1), left = random.below(width - w + 1);
    return {top, left, h, w};
  }
  const double aspect = static_cast<double>(width) / static_cast<double>(height);
  std::int64_t w = width, h = height;
  if (aspect < ratio[0])
    h = std::clamp<std::int64_t>(round_half_even(static_cast<double>(w) / ratio[0]), 1, height);
  else if (aspect > ratio[1])
    w = std::clamp<std::int64_t>(round_half_even(static_cast<double>(h) * ratio[1]), 1, width);
  return {(height - h) / 2, (width - w) / 2, h, w};
}

Transform Transform::train(std::int64_t image_size) {
  return {.image_size = image_size, .resize = 0, .crop = Crop::random_resized, .hflip = 0.5};
}

Transform Transform::eval(std::int64_t image_size) {
  return {.image_size = image_size, .resize = image_size * 256 / 224, .crop = Crop::center};
}

Image Transform::apply(const Image& image, Philox& random) const {
  bool is_flipped = false;
  const Image out = apply_but_flip(image, random, is_flipped);
  return is_flipped ? flip_horizontal(out) : out;
}

Image Transform::apply_but_flip(const Image& original, Philox& random, bool& is_flipped) const {
  check(original.height > 0 && original.width > 0, "transform: the picture is empty, ",
        original.width, "x", original.height);
  const bool is_resized = resize > 0 && crop != Crop::none;
  const Image resized = is_resized ? resize_short_side(original, resize) : Image();
  const Image& image = is_resized ? resized : original;
  const auto cropped = [&] {
    switch (crop) {
      case Crop::none:
        return resize_bilinear(image, image_size, image_size);
      case Crop::center:
        return proxent::crop(image, center_box(image.height, image.width, image_size));
      case Crop::random: {
        // A side that stays too short even when padded gets its offset in the middle of the black.
        const auto offset = [&](std::int64_t n) {
          const std::int64_t room = n + 2 * padding - image_size;
          return room >= 0 ? random.below(room + 1) - padding : -((image_size - n) / 2);
        };
        const std::int64_t top = offset(image.height), left = offset(image.width);
        return proxent::crop(image, {top, left, image_size, image_size});
      }
      case Crop::random_resized:
        break;
    }
    const CropBox box = random_resized_box(image.height, image.width, rrc_scale, rrc_ratio, random);
    return resize_bilinear(image, box, image_size, image_size);
  };
  Image out = cropped();
  is_flipped = hflip > 0 && random.uniform() < hflip;
  return out;
}

AugmentOptions Transform::normalisation() const {
  AugmentOptions options{.height = image_size, .width = image_size};
  for (int channel = 0; channel < 3; ++channel) {
    options.mean[channel] = mean[colour_at(channel)];
    options.std[channel] = std[colour_at(channel)];
  }
  return options;
}

void Transform::validate() const {
  check<UsageError>(image_size >= 1 && image_size <= 16384, "image size must be 1 to 16384, got ",
                    image_size);
  check<UsageError>(resize >= 0 && resize <= 16384, "resize must be 0 (off) to 16384, got ",
                    resize);
  check<UsageError>(padding >= 0 && padding <= 16384, "crop padding must be 0 to 16384, got ",
                    padding);
  check<UsageError>(rrc_scale[0] > 0 && rrc_scale[0] <= rrc_scale[1] && rrc_scale[1] <= 1,
                    "rrc scale must satisfy 0 < low <= high <= 1, got ", rrc_scale[0], ", ",
                    rrc_scale[1]);
  check<UsageError>(rrc_ratio[0] > 0 && rrc_ratio[0] <= rrc_ratio[1] && std::isfinite(rrc_ratio[1]),
                    "rrc ratio must satisfy 0 < low <= high, got ", rrc_ratio[0], ", ",
                    rrc_ratio[1]);
  check<UsageError>(hflip >= 0 && hflip <= 1, "hflip is a probability, got ", hflip);
  for (int c = 0; c < 3; ++c)
    check<UsageError>(std::isfinite(mean[c]) && std::isfinite(std[c]) && std[c] > 0,
                      "mean must be finite and std positive, got mean ", mean[c], " and std ",
                      std[c]);
}

std::string Transform::describe() const {
  std::ostringstream text;
  text.precision(6);
  if (resize > 0 && crop != Crop::none) text << "resize short side " << resize << " bilinear > ";
  switch (crop) {
    case Crop::none:
      text << "resize " << image_size << "x" << image_size << " bilinear";
      break;
    case Crop::center:
      text << "center crop " << image_size;
      break;
    case Crop::random:
      text << "random crop " << image_size << " after padding " << padding;
      break;
    case Crop::random_resized:
      text << "random resized crop " << image_size << " scale " << rrc_scale[0] << "-"
           << rrc_scale[1] << " ratio " << rrc_ratio[0] << "-" << rrc_ratio[1] << " bilinear";
      break;
  }
  if (hflip > 0) text << " > flip left-right p=" << hflip;
  text << " > /255 > minus mean " << mean[0] << " " << mean[1] << " " << mean[2] << " > over std "
       << std[0] << " " << std[1] << " " << std[2];
  if (is_bgr) text << " > blue first";
  return text.str();
}

}  // namespace proxent
