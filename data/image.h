// Pictures in memory: reading them from files the way Pillow's convert("RGB") does, and writing
// PNG.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/check.h"

namespace proxent {

// Eight-bit RGB, rows from the top, pixels (height, width, 3).
struct Image {
  static constexpr std::int64_t kChannels = 3;

  std::int64_t height = 0, width = 0;
  std::vector<std::uint8_t> pixels;

  Image() = default;
  Image(std::int64_t height, std::int64_t width, std::uint8_t value = 0)
      : height(height), width(width), pixels(height * width * kChannels, value) {}

  const std::uint8_t* pixel(std::int64_t y, std::int64_t x) const {
    return pixels.data() + (y * width + x) * kChannels;
  }
  std::uint8_t* pixel(std::int64_t y, std::int64_t x) {
    return pixels.data() + (y * width + x) * kChannels;
  }
  bool operator==(const Image&) const = default;
};

enum class ImageFormat : std::uint8_t { jpeg, png, bmp, gif, pnm };
enum class PixelKind : std::uint8_t { gray, gray_alpha, rgb, rgb_alpha, palette, cmyk };
std::string_view name_of(ImageFormat format);
std::string_view name_of(PixelKind kind);

// What a file's header says, before anything is decoded.
struct ImageInfo {
  ImageFormat format = ImageFormat::jpeg;
  PixelKind kind = PixelKind::rgb;
  std::int64_t height = 0, width = 0;
  int bits = 8;         // per channel
  int orientation = 1;  // EXIF: 1 upright .. 8; 1 where the file says nothing
};

struct DecodeOptions {
  bool apply_exif = false;  // turn the picture as its EXIF orientation says (Pillow does not)
  bool prefer_stb = false;  // decode JPEG with stb_image even where libjpeg was built in
  // Larger pictures are refused on their header. Twice Pillow's warning limit: its error limit.
  std::int64_t max_pixels = 178'956'970;
};

// `name` opens the message of every DataError: not a picture, an unsupported kind, truncated,
// broken checksum, too large. Empty input is an error too.
ImageInfo inspect_image(std::span<const std::uint8_t> bytes, std::string_view name);
// Gray is repeated, palettes looked up, alpha dropped (transparent pixels keep their colour), CMYK
// read inverted (Adobe's convention), as Pillow does. Sixteen bits keep their high byte; Pillow
// does so for colour, but clips gray to white, which we do not copy. Of a GIF the first frame.
Image decode_image(std::span<const std::uint8_t> bytes, std::string_view name,
                   const DecodeOptions& options = {});
// True of the endings that torchvision's ImageFolder takes, whatever their case.
bool is_picture_name(const std::filesystem::path& path);
// Also DataError: missing, not a file, unreadable, empty.
Image load_image(const std::filesystem::path& path, const DecodeOptions& options = {});
std::vector<std::uint8_t> read_file(const std::filesystem::path& path);

// The decoder that JPEG files go through, for a run's record: pixels differ between decoders.
std::string jpeg_decoder_name(const DecodeOptions& options = {});

// The upright picture for an EXIF orientation of 1 to 8.
Image turn_upright(const Image& image, int orientation);

// Lossless; the bytes depend on the pixels and zlib's version only. Throws on an empty picture;
// write_png throws DataError when the file cannot be written.
std::vector<std::uint8_t> encode_png(const Image& image);
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace proxent
