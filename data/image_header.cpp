// What a picture's file says about itself, and whether it is all there: the decoders take too much
// on trust.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

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

// --- EXIF --------------------------------------------------------------------------------------

// Orientation tag (0x0112) of the first directory of EXIF data, which are those of a TIFF file; 1
// when absent or broken.
int exif_orientation(Bytes tiff) {
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

bool is_start_of_frame(int marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

ImageInfo inspect_jpeg(Bytes bytes, std::string_view name) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  ImageInfo info{.format = ImageFormat::jpeg};
  for (auto s = next_segment(bytes, 2); s && s->marker != 0xDA; s = next_segment(bytes, s->next)) {
    if (s->marker == 0xE1 && info.orientation == 1 && starts_with(s->body, kExif))
      info.orientation = exif_orientation(s->body.subspan(kExif.size()));
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

// The Huffman tables that a file has defined so far, and what stb_image takes on trust about them:
// it reads past its arrays where a table claims more than 256 codes, a coefficient more than 16
// bits, or a scan uses a table that was never defined.
class HuffmanTables {
 public:
  explicit HuffmanTables(std::string_view name) : name_(name) {}

  void define(Bytes body) {
    while (!body.empty()) {
      std::size_t codes = 0;
      for (std::size_t i = 1; i <= 16 && i < body.size(); ++i) codes += body[i];
      require(codes <= 256 && body.size() >= 17 + codes, "a Huffman table is too long");
      const bool is_dc = body[0] < 16;
      const Bytes symbols = body.subspan(17, codes);  // of DC tables: numbers of bits
      const auto fits = [](std::uint8_t bits) { return bits < 16; };
      require(!is_dc || std::all_of(symbols.begin(), symbols.end(), fits),
              "a coefficient has over 15 bits");
      (is_dc ? has_dc_ : has_ac_)[body[0] & 3] = true;
      body = body.subspan(17 + codes);
    }
  }

  // A scan's header: components with their tables, first and last coefficient, precision.
  void use(Bytes body, bool is_progressive) {
    const std::size_t components = body.empty() ? 0 : body[0];
    require(components > 0 && body.size() >= 4 + 2 * components, "a scan's header is too short");
    const bool is_first_dc = body[1 + 2 * components] == 0;
    for (std::size_t c = 0; c < components; ++c) {
      const std::uint8_t tables = body[2 + 2 * c];
      const bool needs_dc = !is_progressive || is_first_dc;
      const bool needs_ac = !is_progressive || !is_first_dc;
      require((!needs_dc || has_dc_[tables >> 4 & 3]) && (!needs_ac || has_ac_[tables & 3]),
              "a scan uses a Huffman table that is not there");
    }
  }

 private:
  void require(bool condition, const char* what) {
    check<DataError>(condition, "picture ", name_, ": broken JPEG, ", what);
  }
  std::string_view name_;
  std::array<bool, 4> has_dc_{}, has_ac_{};
};

// stb_image also reads on in zeros where the data ends.
void check_jpeg_for_stb(Bytes bytes, std::string_view name) {
  HuffmanTables tables(name);
  bool is_progressive = false;
  int scans = 0;
  for (auto s = next_segment(bytes, 2); s; s = next_segment(bytes, s->next)) {
    if (s->marker == 0xD9) return;
    if (s->marker == 0xC2) is_progressive = true;
    if (s->marker == 0xC4) tables.define(s->body);
    if (s->marker != 0xDA) continue;
    tables.use(s->body, is_progressive);
    check<DataError>(++scans <= detail::kMaxJpegScans, "picture ", name, ": broken JPEG (",
                     detail::too_many_scans(), ")");
  }
  fail<DataError>("picture ", name,
                  ": truncated JPEG, the data ends before the picture is complete");
}

// --- PNG ---------------------------------------------------------------------------------------

constexpr std::string_view kPngMagic("\x89PNG\r\n\x1a\n", 8);

// Of the EXIF data, which may stand before or behind the pixels; 1 where there are none.
int png_orientation(Bytes bytes) {
  constexpr std::size_t kAround = 12;  // length, type and checksum
  for (std::size_t at = kPngMagic.size(); at + kAround <= bytes.size();) {
    const std::size_t length = big_endian(bytes, at, 4);
    if (length > bytes.size() - at - kAround) break;
    if (std::memcmp(&bytes[at + 4], "eXIf", 4) == 0)
      return exif_orientation(bytes.subspan(at + 8, length));
    at += kAround + length;
  }
  return 1;
}

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
  info.orientation = png_orientation(bytes);
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

// --- GIF, BMP and PNM --------------------------------------------------------------------------

std::uint32_t little_endian(Bytes bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value |= std::uint32_t{bytes[at + i]} << 8 * i;
  return value;
}

// Bytes of the colour table that a GIF's flag byte announces.
std::size_t gif_table(std::uint8_t flags) { return flags & 0x80 ? 3u << ((flags & 7) + 1) : 0; }

// What comes up to the end of the first picture.
struct GifStart {
  bool is_complete = false;       // the picture's data blocks run to their terminator
  std::size_t control_flags = 0;  // where the flags of the picture's graphic control are, if any
};

GifStart start_of_gif(Bytes bytes) {
  GifStart start;
  if (bytes.size() < 13) return start;
  bool is_picture = false;
  for (std::size_t at = 13 + gif_table(bytes[10]); at + 10 < bytes.size();) {
    if (bytes[at] == 0x2C) {  // picture: place and size, colour table, code size, data blocks
      is_picture = true;
      at += 10 + gif_table(bytes[at + 9]) + 1;
    } else if (bytes[at] == 0x21) {  // extension: kind, data blocks
      if (bytes[at + 1] == 0xF9) start.control_flags = at + 3;
      at += 2;
    } else {
      return start;
    }
    while (at < bytes.size() && bytes[at] != 0) at += bytes[at] + std::size_t{1};
    if (at >= bytes.size()) return start;
    start.is_complete = is_picture;
    if (is_picture) return start;
    ++at;
  }
  return start;
}

// A code of 12 bits stands for 4096 pixels at most; the first 4 million are free, for a small
// picture on a large canvas.
constexpr std::int64_t most_gif_pixels(std::size_t bytes) {
  return (1 << 22) + static_cast<std::int64_t>(bytes) * 8 / 12 * 4096;
}

// Whether all rows of an uncompressed BMP are there (stb_image reads no compressed ones).
bool is_complete_bmp(Bytes bytes, const ImageInfo& info) {
  if (bytes.size() < 30) return false;
  const bool is_old = little_endian(bytes, 14, 4) == 12;  // OS/2: 16-bit sizes
  const std::int64_t bits = little_endian(bytes, is_old ? 24 : 28, 2);
  const std::int64_t row = (info.width * bits + 31) / 32 * 4;
  const std::int64_t first = little_endian(bytes, 10, 4);
  return first + row * info.height <= static_cast<std::int64_t>(bytes.size());
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
    check<DataError>(detail::inspect_pnm(bytes, info), "picture ", name, ": broken PNM header");
    return info;
  } else {
    fail<DataError>("picture ", name, ": ", describe_unknown(bytes));
  }
  check<DataError>(detail::inspect_with_stb(bytes, info), "picture ", name, ": broken ",
                   name_of(info.format), " header");
  return info;
}

bool detail::has_jpeg_end(Bytes bytes) {
  auto s = next_segment(bytes, 2);
  while (s && s->marker != 0xDA) s = next_segment(bytes, s->next);  // a thumbnail has ends too
  if (!s) return false;
  constexpr std::array<std::uint8_t, 2> kEnd{0xFF, 0xD9};
  const Bytes scans = bytes.subspan(s->next);  // whose data has a 0 after each FF
  return std::find_end(scans.begin(), scans.end(), kEnd.begin(), kEnd.end()) != scans.end();
}

void detail::check_complete(Bytes bytes, const ImageInfo& info, std::string_view name) {
  switch (info.format) {
    case ImageFormat::jpeg:
      check_jpeg_for_stb(bytes, name);
      break;
    case ImageFormat::png:
      check_png_chunks(bytes, name);
      break;
    case ImageFormat::gif:
      // stb_image takes what there is.
      check<DataError>(start_of_gif(bytes).is_complete, "picture ", name,
                       ": truncated or broken GIF");
      check<DataError>(info.width * info.height <= most_gif_pixels(bytes.size()), "picture ", name,
                       ": broken GIF, ", bytes.size(), " bytes that claim ", info.width, "x",
                       info.height, " pixels");
      break;
    case ImageFormat::bmp:
      check<DataError>(is_complete_bmp(bytes, info), "picture ", name, ": truncated BMP");
      break;
    case ImageFormat::pnm:
      break;  // its own decoder checks
  }
}

std::string detail::too_many_scans() {
  return concat("more than ", kMaxJpegScans,
                " scans, where progressive files have about 10; save it anew");
}

std::vector<std::uint8_t> detail::opaque_gif(Bytes bytes) {
  constexpr std::uint8_t kHasTransparency = 1;
  std::vector<std::uint8_t> gif(bytes.begin(), bytes.end());
  const std::size_t flags = start_of_gif(bytes).control_flags;
  if (flags != 0) gif[flags] &= static_cast<std::uint8_t>(~kHasTransparency);
  return gif;
}

}  // namespace proxent
