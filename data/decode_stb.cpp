// stb_image: PNG, BMP, GIF, and JPEG where libjpeg is not built in.
#include "data/decode.h"

// Only formats with a magic number: stb takes nearly any bytes for a TGA.
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_NO_STDIO
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>

#include <algorithm>
#include <limits>
#include <memory>

namespace proxent::detail {
namespace {
int length_of(std::span<const std::uint8_t> bytes, std::string_view name) {
  check<DataError>(bytes.size() <= std::numeric_limits<int>::max(), "picture ", name,
                   ": the file has ", bytes.size(), " bytes, more than a decoder takes");
  return static_cast<int>(bytes.size());
}
}  // namespace

Image decode_with_stb(std::span<const std::uint8_t> bytes, std::string_view name) {
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes.data(), length_of(bytes, name), &width, &height, &channels, 3),
      stbi_image_free);
  check<DataError>(pixels != nullptr, "picture ", name, ": cannot be decoded (",
                   stbi_failure_reason() ? stbi_failure_reason() : "no reason given", ")");
  Image image(height, width);
  std::copy_n(pixels.get(), image.pixels.size(), image.pixels.data());
  return image;
}

bool inspect_with_stb(std::span<const std::uint8_t> bytes, ImageInfo& info) {
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(bytes.data(), length_of(bytes, ""), &width, &height, &channels))
    return false;
  info.height = height;
  info.width = width;
  info.kind = channels == 1   ? PixelKind::gray
              : channels == 2 ? PixelKind::gray_alpha
              : channels == 4 ? PixelKind::rgb_alpha
                              : PixelKind::rgb;
  return true;
}

}  // namespace proxent::detail
