// What lies behind decode_image, private to data/.
#pragma once

#include "data/image.h"

namespace proxent::detail {

#ifdef PROXENT_TURBOJPEG
// ISLOW DCT and fancy upsampling, as Pillow. DataError when the file is truncated or broken.
Image decode_with_libjpeg(std::span<const std::uint8_t> bytes, const ImageInfo& info,
                          std::string_view name);
std::string libjpeg_name();
#endif

// Binary PNM (P5, P6) of any depth up to 16 bits, scaled to 255.
Image decode_pnm(std::span<const std::uint8_t> bytes, std::string_view name);
bool inspect_pnm(std::span<const std::uint8_t> bytes, ImageInfo& info);

// A progressive JPEG may hold thousands of scans over a large picture in a few kilobytes.
constexpr int kMaxJpegScans = 100;
std::string too_many_scans();  // the reason

// Whether a JPEG has its end marker behind its first scan: not if it was cut off.
bool has_jpeg_end(std::span<const std::uint8_t> bytes);
// DataError when the file is truncated, or broken in a way that stb_image does not notice. To be
// called before decode_with_stb, which takes as much memory as `info` justifies.
void check_complete(std::span<const std::uint8_t> bytes, const ImageInfo& info,
                    std::string_view name);
Image decode_with_stb(std::span<const std::uint8_t> bytes, const ImageInfo& info,
                      std::string_view name);
// The GIF with its first picture's transparent pixels in their palette's colour, as alpha is
// dropped from other pictures: stb_image leaves them black.
std::vector<std::uint8_t> opaque_gif(std::span<const std::uint8_t> bytes);
// Size of a BMP or GIF picture; returns false when the header is broken.
bool inspect_with_stb(std::span<const std::uint8_t> bytes, ImageInfo& info);

}  // namespace proxent::detail
