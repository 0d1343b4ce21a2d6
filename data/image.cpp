#include "data/image.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <system_error>

#include "data/decode.h"

namespace proxent {
namespace {

using Bytes = std::span<const std::uint8_t>;

bool starts_with(Bytes bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

std::uint32_t big_endian(Bytes bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[at + i];
  return value;
}

// --- JPEG segments -----------------------------------------------------------------------------

struct Segment {
  int marker = 0;    // second byte of 0xFF 0x..
  Bytes body;        // what follows the two length bytes; empty for markers without length
  std::size_t next;  // where the bytes after the segment begin
};

bool has_length(int marker) { return marker != 0x01 && !(marker >= 0xD0 && marker <= 0xD9); }

// The segment that begins at or after `at`; nothing when the file ends first.
std::optional<Segment> next_segment(Bytes bytes, std::size_t at) {
  while (at + 1 < bytes.size() &&
         !(bytes[at] == 0xFF && bytes[at + 1] != 0 && bytes[at + 1] != 0xFF))
    ++at;
  if (at + 1 >= bytes.size()) return std::nullopt;
  const int marker = bytes[at + 1];
  at += 2;
  if (!has_length(marker)) return Segment{marker, {}, at};
  if (at + 2 > bytes.size()) return std::nullopt;
  const std::size_t length = big_endian(bytes, at, 2);
  if (length < 2 || at + length > bytes.size()) return std::nullopt;
  return Segment{marker, bytes.subspan(at + 2, length - 2), at + length};
}

// Orientation tag (0x0112) of the first directory of an EXIF block; 1 when absent or broken.
int exif_orientation(Bytes exif) {
  if (!starts_with(exif, std::string_view("Exif\0\0", 6))) return 1;
  const Bytes tiff = exif.subspan(6);
  const bool is_little = starts_with(tiff, "II");
  if (tiff.size() < 8 || (!is_little && !starts_with(tiff, "MM"))) return 1;
  const auto number = [&](std::size_t at, int count) {
    std::uint32_t value = 0;
    for (int i = 0; i < count; ++i)
      value |= std::uint32_t{tiff[at + i]} << 8 * (is_little ? i : count - 1 - i);
    return value;
  };
  const std::size_t directory = number(4, 4);
  if (directory + 2 > tiff.size()) return 1;
  const std::size_t entries = number(directory, 2);
  for (std::size_t i = 0, at = directory + 2; i < entries && at + 12 <= tiff.size();
       ++i, at += 12) {
    if (number(at, 2) != 0x0112) continue;
    const std::uint32_t value = number(at + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

bool is_start_of_frame(int marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

ImageInfo inspect_jpeg(Bytes bytes, std::string_view name) {
  ImageInfo info{.format = ImageFormat::jpeg};
  for (auto s = next_segment(bytes, 2); s && s->marker != 0xDA; s = next_segment(bytes, s->next)) {
    if (s->marker == 0xE1 && info.orientation == 1) info.orientation = exif_orientation(s->body);
    if (!is_start_of_frame(s->marker) || s->body.size() < 6) continue;
    info.bits = s->body[0];
    info.height = big_endian(s->body, 1, 2);
    info.width = big_endian(s->body, 3, 2);
    info.kind = s->body[5] == 1   ? PixelKind::gray
                : s->body[5] == 4 ? PixelKind::cmyk
                                  : PixelKind::rgb;
    return info;
  }
  fail<DataError>("picture ", name, ": truncated JPEG, the file ends inside its header");
}

// Whether an end-of-image marker follows the entropy-coded data. stb_image reads on in zeros.
bool has_jpeg_end(Bytes bytes) {
  for (auto s = next_segment(bytes, 2); s; s = next_segment(bytes, s->next))
    if (s->marker == 0xD9) return true;
  return false;
}

// --- PNG ---------------------------------------------------------------------------------------

constexpr std::string_view kPngMagic("\x89PNG\r\n\x1a\n", 8);

// Every chunk is complete and passes its CRC up to IEND; stb_image checks neither.
void check_png_chunks(Bytes bytes, std::string_view name) {
  for (std::size_t at = kPngMagic.size();;) {
    check<DataError>(at + 12 <= bytes.size(), "picture ", name,
                     ": truncated PNG, the file ends without IEND");
    const std::size_t length = big_endian(bytes, at, 4);
    check<DataError>(length <= bytes.size() - at - 12, "picture ", name,
                     ": truncated PNG, the file ends inside a chunk");
    const Bytes body = bytes.subspan(at + 4, length + 4);  // type and data
    const std::string_view type(reinterpret_cast<const char*>(body.data()), 4);
    check<DataError>(crc32(0, body.data(), static_cast<uInt>(body.size())) ==
                         big_endian(bytes, at + 8 + length, 4),
                     "picture ", name, ": broken PNG, a chunk's checksum is wrong");
    if (type == "IEND") return;
    at += 12 + length;
  }
}

ImageInfo inspect_png(Bytes bytes, std::string_view name) {
  check<DataError>(bytes.size() >= 33 && std::memcmp(bytes.data() + 12, "IHDR", 4) == 0, "picture ",
                   name, ": truncated PNG, the file ends inside its header");
  ImageInfo info{.format = ImageFormat::png};
  info.width = big_endian(bytes, 16, 4);
  info.height = big_endian(bytes, 20, 4);
  info.bits = bytes[24];
  switch (bytes[25]) {
    case 0:
      info.kind = PixelKind::gray;
      break;
    case 2:
      info.kind = PixelKind::rgb;
      break;
    case 3:
      info.kind = PixelKind::palette;
      break;
    case 4:
      info.kind = PixelKind::gray_alpha;
      break;
    case 6:
      info.kind = PixelKind::rgb_alpha;
      break;
    default:
      fail<DataError>("picture ", name, ": broken PNG, colour type ", int{bytes[25]});
  }
  return info;
}

// What a file is that we cannot read, from its first bytes.
std::string describe_unknown(Bytes bytes) {
  if (starts_with(bytes, "RIFF") && bytes.size() >= 12 && !std::memcmp(&bytes[8], "WEBP", 4))
    return "WebP, which is not supported; convert it to JPEG or PNG";
  if (starts_with(bytes, std::string_view("II*\0", 4)) ||
      starts_with(bytes, std::string_view("MM\0*", 4)))
    return "TIFF, which is not supported; convert it to JPEG or PNG";
  if (bytes.size() >= 12 && !std::memcmp(&bytes[4], "ftyp", 4))
    return "HEIC, AVIF or a film, which is not supported; convert it to JPEG or PNG";
  return "not a JPEG, PNG, BMP, GIF or PNM picture";
}

}  // namespace

std::string_view name_of(ImageFormat format) {
  static constexpr std::array<std::string_view, 5> kNames{"JPEG", "PNG", "BMP", "GIF", "PNM"};
  return kNames[static_cast<std::size_t>(format)];
}

std::string_view name_of(PixelKind kind) {
  static constexpr std::array<std::string_view, 6> kNames{
      "gray", "gray with alpha", "RGB", "RGB with alpha", "palette", "CMYK"};
  return kNames[static_cast<std::size_t>(kind)];
}

ImageInfo inspect_image(Bytes bytes, std::string_view name) {
  check<DataError>(!bytes.empty(), "picture ", name, ": the file is empty (0 bytes)");
  if (starts_with(bytes, "\xFF\xD8\xFF")) return inspect_jpeg(bytes, name);
  if (starts_with(bytes, kPngMagic)) return inspect_png(bytes, name);
  ImageInfo info;
  if (starts_with(bytes, "BM")) {
    info.format = ImageFormat::bmp;
  } else if (starts_with(bytes, "GIF8")) {
    info.format = ImageFormat::gif;
  } else if (starts_with(bytes, "P5") || starts_with(bytes, "P6")) {
    info.format = ImageFormat::pnm;
  } else {
    fail<DataError>("picture ", name, ": ", describe_unknown(bytes));
  }
  check<DataError>(detail::inspect_with_stb(bytes, info), "picture ", name, ": broken ",
                   name_of(info.format), " header");
  return info;
}

Image decode_image(Bytes bytes, std::string_view name, const DecodeOptions& options) {
  const ImageInfo info = inspect_image(bytes, name);
  check<DataError>(info.height > 0 && info.width > 0, "picture ", name, ": its header says ",
                   info.width, "x", info.height, " pixels");
  check<DataError>(info.width <= options.max_pixels / info.height, "picture ", name, ": ",
                   info.width, "x", info.height, " pixels, more than the limit of ",
                   options.max_pixels, " (a decompression bomb?); raise the limit to allow it");
  if (info.format == ImageFormat::png) check_png_chunks(bytes, name);

  const auto decode = [&] {
#ifdef PROXENT_TURBOJPEG
    if (info.format == ImageFormat::jpeg && !options.prefer_stb)
      return detail::decode_with_libjpeg(bytes, name);
#endif
    check<DataError>(info.format != ImageFormat::jpeg || has_jpeg_end(bytes), "picture ", name,
                     ": truncated JPEG, the data ends before the picture is complete");
    return detail::decode_with_stb(bytes, name);
  };
  Image image = decode();
  return options.apply_exif && info.orientation != 1 ? turn_upright(image, info.orientation)
                                                     : image;
}

std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  check<DataError>(std::filesystem::exists(status), "cannot read ", path.string(),
                   ": no such file");
  check<DataError>(std::filesystem::is_regular_file(status), "cannot read ", path.string(),
                   ": not a regular file");
  const auto size = std::filesystem::file_size(path, error);
  check<DataError>(!error, "cannot read ", path.string(), ": ", error.message());
  std::vector<std::uint8_t> bytes(size);
  std::ifstream file(path, std::ios::binary);
  check<DataError>(file.is_open(), "cannot read ", path.string(), ": ",
                   std::generic_category().message(errno));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  check<DataError>(file.gcount() == static_cast<std::streamsize>(size), "cannot read ",
                   path.string(), ": got ", file.gcount(), " of ", size, " bytes");
  return bytes;
}

Image load_image(const std::filesystem::path& path, const DecodeOptions& options) {
  return decode_image(read_file(path), path.string(), options);
}

std::string jpeg_decoder_name() {
#ifdef PROXENT_TURBOJPEG
  return detail::libjpeg_name();
#else
  return "stb_image";
#endif
}

Image turn_upright(const Image& image, int orientation) {
  check(orientation >= 1 && orientation <= 8, "turn_upright: orientation must be 1 to 8, got ",
        orientation);
  const bool is_transposed = orientation >= 5;
  Image upright(is_transposed ? image.width : image.height,
                is_transposed ? image.height : image.width);
  for (std::int64_t y = 0; y < upright.height; ++y)
    for (std::int64_t x = 0; x < upright.width; ++x) {
      // Where the upright pixel lies in the file: 2-4 mirror rows or columns, 5-8 transpose as
      // well.
      std::int64_t from_y = is_transposed ? x : y, from_x = is_transposed ? y : x;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        from_y = image.height - 1 - from_y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        from_x = image.width - 1 - from_x;
      std::copy_n(image.pixel(from_y, from_x), Image::kChannels, upright.pixel(y, x));
    }
  return upright;
}

}  // namespace proxent
