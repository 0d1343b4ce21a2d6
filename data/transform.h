// From a decoded picture to a network's input: resize, crop, flip, normalise, in torchvision's
// order and with Pillow's arithmetic, bit for bit. What can be done picture by picture for a whole
// batch, flip and normalise, is left to tensor/augment.h.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "data/image.h"
#include "tensor/augment.h"
#include "tensor/random.h"

namespace proxent {

struct CropBox {
  std::int64_t top = 0, left = 0, height = 0, width = 0;
  bool operator==(const CropBox&) const = default;
};

// Pillow's Image.resize(BILINEAR) of a box of the picture (not of its surroundings): a triangle as
// wide as the reduction, columns first, 22-bit fixed point, rounded to eight bits between the two
// passes. Throws when a size is not positive or the box leaves the picture.
Image resize_bilinear(const Image& image, CropBox box, std::int64_t height, std::int64_t width);
Image resize_bilinear(const Image& image, std::int64_t height, std::int64_t width);
// torchvision's Resize(size): the short side becomes `size`, the long one size * long / short,
// rounded down.
Image resize_short_side(const Image& image, std::int64_t size);
// The box, black where it leaves the picture.
Image crop(const Image& image, CropBox box);
// torchvision's CenterCrop(size): offset (n - size) / 2, halves to the even neighbour; smaller
// pictures are padded with black.
CropBox center_box(std::int64_t height, std::int64_t width, std::int64_t size);
Image flip_horizontal(const Image& image);

// How a picture becomes image_size x image_size.
enum class Crop : std::uint8_t {
  none,           // the whole picture, both sides resized, aspect not kept
  center,         // the middle
  random,         // anywhere, after `padding` black pixels on each side
  random_resized  // torchvision's RandomResizedCrop: a box of random area and aspect, resized
};
Crop crop_from_name(std::string_view name);  // none | center | random | rrc, else UsageError
std::string_view name_of(Crop crop);

// torchvision's RandomResizedCrop.get_params: ten tries of area * U(scale) and aspect
// exp(U(log ratio)), then the largest central box of allowed aspect.
CropBox random_resized_box(std::int64_t height, std::int64_t width, std::array<double, 2> scale,
                           std::array<double, 2> ratio, Philox& random);

// A whole pipeline, as a value.
struct Transform {
  std::int64_t image_size = 224;  // side of the square that comes out
  std::int64_t resize = 256;      // short side before the crop; 0 leaves the size alone
  Crop crop = Crop::center;
  std::int64_t padding = 0;                  // Crop::random
  std::array<double, 2> rrc_scale{0.08, 1};  // Crop::random_resized: share of the area
  std::array<double, 2> rrc_ratio{3. / 4, 4. / 3};
  bool is_bgr = false;  // the last step swaps red and blue
  double hflip = 0;     // probability
  std::array<float, 3> mean{0.485f, 0.456f, 0.406f},
      std{0.229f, 0.224f, 0.225f};  // ImageNet's, of R, G, B

  // The recipe of the field: RandomResizedCrop and a flip in training, resize by 256 / 224 and the
  // centre in evaluation.
  static Transform train(std::int64_t image_size);
  static Transform eval(std::int64_t image_size);

  // The picture before normalisation, (image_size, image_size), red first whatever is_bgr says.
  // Draws from `random` only for steps that are random. Throws on an empty picture.
  Image apply(const Image& image, Philox& random) const;
  // The same with the last step left to the device: true in `is_flipped` if the picture that is
  // returned is to be flipped.
  Image apply_but_flip(const Image& image, Philox& random, bool& is_flipped) const;
  // What of the picture's colours comes at place `channel` of a network's input.
  int colour_at(int channel) const { return is_bgr ? 2 - channel : channel; }
  // Normalisation, and where it begins: (u8 / 255 - mean) / std of an image_size square whose
  // colours are in the network's order.
  AugmentOptions normalisation() const;

  // Throws UsageError naming the first value that makes no sense.
  void validate() const;
  // The steps in order, one line: "resize short side 256 bilinear > center crop 224 > ...".
  std::string describe() const;
};

}  // namespace proxent
