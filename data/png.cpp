// Writing PNG: eight-bit RGB, one IDAT, per row the filter whose residuals are smallest.
#include <zlib.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <system_error>

#include "data/image.h"

namespace proxent {
namespace {

void append_number(std::vector<std::uint8_t>& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::uint8_t>(value >> shift));
}

void append_chunk(std::vector<std::uint8_t>& out, std::string_view type,
                  std::span<const std::uint8_t> data) {
  append_number(out, static_cast<std::uint32_t>(data.size()));
  const std::size_t start = out.size();
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), data.begin(), data.end());
  append_number(out, static_cast<std::uint32_t>(
                         crc32(0, out.data() + start, static_cast<uInt>(out.size() - start))));
}

// PNG specification 9.4: whichever of left, up and upper left is nearest to left + up - upper left.
int paeth(int left, int up, int upper_left) {
  const int estimate = left + up - upper_left;
  const int to_left = std::abs(estimate - left), to_up = std::abs(estimate - up),
            to_upper_left = std::abs(estimate - upper_left);
  if (to_left <= to_up && to_left <= to_upper_left) return left;
  return to_up <= to_upper_left ? up : upper_left;
}

// out[i] = row[i] - the prediction of filter type 0 to 4; returns the sum of |residual|.
std::int64_t filter_row(int type, const std::uint8_t* row, const std::uint8_t* above,
                        std::int64_t length, std::uint8_t* out) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < length; ++i) {
    const int left = i < 3 ? 0 : row[i - 3], up = above[i], upper_left = i < 3 ? 0 : above[i - 3];
    const std::array<int, 5> predictions{0, left, up, (left + up) / 2,
                                         type == 4 ? paeth(left, up, upper_left) : 0};
    out[i] = static_cast<std::uint8_t>(row[i] - predictions[type]);
    sum += std::abs(static_cast<std::int8_t>(out[i]));
  }
  return sum;
}

std::vector<std::uint8_t> filtered_rows(const Image& image) {
  const std::int64_t length = image.width * Image::kChannels;
  const std::vector<std::uint8_t> black(length);
  std::vector<std::uint8_t> rows, candidate(length), best(length);
  rows.reserve(image.height * (length + 1));
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* above = y == 0 ? black.data() : image.pixel(y - 1, 0);
    std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
    int chosen = 0;
    for (int type = 0; type < 5; ++type) {
      const std::int64_t sum = filter_row(type, image.pixel(y, 0), above, length, candidate.data());
      if (sum >= smallest) continue;
      smallest = sum;
      chosen = type;
      best.swap(candidate);
    }
    rows.push_back(static_cast<std::uint8_t>(chosen));
    rows.insert(rows.end(), best.begin(), best.end());
  }
  return rows;
}

}  // namespace

std::vector<std::uint8_t> encode_png(const Image& image) {
  check(image.height > 0 && image.width > 0, "encode_png: the picture is empty, ", image.width, "x",
        image.height);
  const std::vector<std::uint8_t> rows = filtered_rows(image);
  uLongf size = compressBound(rows.size());
  std::vector<std::uint8_t> packed(size);
  check(compress2(packed.data(), &size, rows.data(), rows.size(), 6) == Z_OK,
        "encode_png: zlib failed on ", rows.size(), " bytes");
  packed.resize(size);

  std::vector<std::uint8_t> header;
  append_number(header, static_cast<std::uint32_t>(image.width));
  append_number(header, static_cast<std::uint32_t>(image.height));
  header.insert(header.end(),
                {8, 2, 0, 0, 0});  // bits, RGB, deflate, filters per row, no interlace

  constexpr std::string_view kMagic("\x89PNG\r\n\x1a\n", 8);
  std::vector<std::uint8_t> png(kMagic.begin(), kMagic.end());
  append_chunk(png, "IHDR", header);
  append_chunk(png, "IDAT", packed);
  append_chunk(png, "IEND", {});
  return png;
}

void write_png(const std::filesystem::path& path, const Image& image) {
  const std::vector<std::uint8_t> png = encode_png(image);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(png.data()), static_cast<std::streamsize>(png.size()));
  file.close();
  check<DataError>(!file.fail(), "cannot write ", path.string(), ": ",
                   std::generic_category().message(errno));
}

}  // namespace proxent
