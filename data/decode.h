// The two decoders behind decode_image, private to data/. The header has been inspected already.
#pragma once

#include "data/image.h"

namespace proxent::detail {

#ifdef PROXENT_TURBOJPEG
// ISLOW DCT and fancy upsampling, as Pillow. DataError when the file is truncated or broken.
Image decode_with_libjpeg(std::span<const std::uint8_t> bytes, std::string_view name);
std::string libjpeg_name();
#endif

Image decode_with_stb(std::span<const std::uint8_t> bytes, std::string_view name);
// Size of a BMP, GIF or PNM picture; returns false when the header is broken.
bool inspect_with_stb(std::span<const std::uint8_t> bytes, ImageInfo& info);

}  // namespace proxent::detail
