// Binary PNM, read here because stb_image reads past its buffer for 16-bit files.
#include <algorithm>
#include <optional>

#include "data/decode.h"

namespace proxent::detail {
namespace {

struct PnmHeader {
  std::int64_t width = 0, height = 0, most = 0;  // most: the value of white
  std::size_t first = 0;                         // where the pixels begin
  int channels = 0;
};

bool is_blank(std::uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The number after blanks and comments; nothing when there is none or it has over nine digits.
std::optional<std::int64_t> next_number(std::span<const std::uint8_t> bytes, std::size_t& at) {
  while (at < bytes.size() && (is_blank(bytes[at]) || bytes[at] == '#')) {
    if (bytes[at] == '#')
      while (at < bytes.size() && bytes[at] != '\n') ++at;
    else
      ++at;
  }
  std::int64_t value = 0;
  const std::size_t start = at;
  for (; at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '9'; ++at) {
    if (at - start == 9) return std::nullopt;
    value = value * 10 + (bytes[at] - '0');
  }
  if (at == start) return std::nullopt;
  return value;
}

std::optional<PnmHeader> read_header(std::span<const std::uint8_t> bytes) {
  PnmHeader header{.channels = bytes[1] == '6' ? 3 : 1};
  std::size_t at = 2;
  for (std::int64_t* field : {&header.width, &header.height, &header.most}) {
    const auto value = next_number(bytes, at);
    if (!value || *value < 1) return std::nullopt;
    *field = *value;
  }
  if (header.most > 65535 || at >= bytes.size() || !is_blank(bytes[at])) return std::nullopt;
  header.first = at + 1;  // a single blank
  return header;
}

}  // namespace

bool inspect_pnm(std::span<const std::uint8_t> bytes, ImageInfo& info) {
  const auto header = read_header(bytes);
  if (!header) return false;
  info.format = ImageFormat::pnm;
  info.kind = header->channels == 3 ? PixelKind::rgb : PixelKind::gray;
  info.height = header->height;
  info.width = header->width;
  info.bits = header->most > 255 ? 16 : 8;
  return true;
}

Image decode_pnm(std::span<const std::uint8_t> bytes, std::string_view name) {
  const auto header = read_header(bytes);
  check<DataError>(header.has_value(), "picture ", name, ": broken PNM header");
  const std::size_t size = header->most > 255 ? 2 : 1;
  const std::int64_t values = header->width * header->height * header->channels;
  check<DataError>(values * size <= bytes.size() - header->first, "picture ", name,
                   ": truncated PNM, the data ends before the picture is complete");
  Image image(header->height, header->width);
  const std::uint8_t* from = bytes.data() + header->first;
  for (std::int64_t i = 0; i < values; ++i, from += size) {
    const std::int64_t value = size == 2 ? from[0] << 8 | from[1] : from[0];
    const auto scaled = static_cast<std::uint8_t>(
        (std::min(value, header->most) * 255 + header->most / 2) / header->most);
    if (header->channels == 3)
      image.pixels[i] = scaled;
    else
      std::fill_n(image.pixels.data() + i * Image::kChannels, Image::kChannels, scaled);
  }
  return image;
}

}  // namespace proxent::detail
