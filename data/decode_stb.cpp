// stb_image: PNG, BMP, GIF, and JPEG where libjpeg is not built in.
#include "data/decode.h"

#include <cstdlib>

namespace {
// What one allocation of stb_image may take: it unpacks a PNG's data to their end, however long
// they are, before it looks at the picture's size.
thread_local std::size_t most_bytes = 0;

void* limited_realloc(void* old, std::size_t bytes) {
  return bytes <= most_bytes ? std::realloc(old, bytes) : nullptr;
}
}  // namespace
#define STBI_MALLOC(bytes) limited_realloc(nullptr, bytes)
#define STBI_REALLOC(old, bytes) limited_realloc(old, bytes)
#define STBI_FREE(old) std::free(old)

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
constexpr std::size_t kTables = 1 << 17;  // bytes, of a decoder's own state

int length_of(std::span<const std::uint8_t> bytes, std::string_view name) {
  check<DataError>(bytes.size() <= std::numeric_limits<int>::max(), "picture ", name,
                   ": the file has ", bytes.size(), " bytes, more than a decoder takes");
  return static_cast<int>(bytes.size());
}
}  // namespace

Image decode_with_stb(std::span<const std::uint8_t> bytes, const ImageInfo& info,
                      std::string_view name) {
  // Four channels of two bytes, in a buffer that doubles when it is full; JPEG rounds both sides up
  // to at most 32 pixels.
  most_bytes = bytes.size() + kTables +
               static_cast<std::size_t>((info.height + 32) * (info.width + 32) * 16);
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes.data(), length_of(bytes, name), &width, &height, &channels, 3),
      stbi_image_free);
  const std::string_view reason =
      pixels || !stbi_failure_reason() ? "no reason given" : stbi_failure_reason();
  check<DataError>(pixels != nullptr, "picture ", name, ": cannot be decoded (",
                   reason == "outofmem" ? "it unpacks to more than its size says" : reason, ")");
  Image image(height, width);
  std::copy_n(pixels.get(), image.pixels.size(), image.pixels.data());
  return image;
}

bool inspect_with_stb(std::span<const std::uint8_t> bytes, ImageInfo& info) {
  most_bytes = kTables;
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(bytes.data(), length_of(bytes, ""), &width, &height, &channels))
    return false;
  info.height =
      std::abs(std::int64_t{height});  // a BMP whose first row is its top says so by a sign
  info.width = width;
  info.kind = channels == 1   ? PixelKind::gray
              : channels == 2 ? PixelKind::gray_alpha
              : channels == 4 ? PixelKind::rgb_alpha
                              : PixelKind::rgb;
  return true;
}

}  // namespace proxent::detail
