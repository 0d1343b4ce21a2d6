#include "data/image.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <system_error>

#include "data/decode.h"

namespace proxent {

Image decode_image(std::span<const std::uint8_t> bytes, std::string_view name,
                   const DecodeOptions& options) {
  const ImageInfo info = inspect_image(bytes, name);
  check<DataError>(info.height > 0 && info.width > 0, "picture ", name, ": its header says ",
                   info.width, "x", info.height, " pixels");
  check<DataError>(info.width <= options.max_pixels / info.height, "picture ", name, ": ",
                   info.width, "x", info.height, " pixels, more than the limit of ",
                   options.max_pixels, " (a decompression bomb?); raise --max-pixels to allow it");
  const auto decode = [&] {
#ifdef PROXENT_TURBOJPEG
    if (info.format == ImageFormat::jpeg && !options.prefer_stb)
      return detail::decode_with_libjpeg(bytes, info, name);
#endif
    if (info.format == ImageFormat::pnm) return detail::decode_pnm(bytes, name);
    detail::check_complete(bytes, info, name);
    if (info.format == ImageFormat::gif)
      return detail::decode_with_stb(detail::opaque_gif(bytes), info, name);
    return detail::decode_with_stb(bytes, info, name);
  };
  Image image = decode();
  return options.apply_exif && info.orientation != 1 ? turn_upright(image, info.orientation)
                                                     : image;
}

std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  check<DataError>(status.type() != std::filesystem::file_type::not_found, "cannot read ",
                   path.string(), ": no such file");
  check<DataError>(!error, "cannot read ", path.string(), ": ", error.message());
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

bool is_picture_name(const std::filesystem::path& path) {
  // torchvision's list: kinds that we cannot decode are named when they are read, not dropped.
  static constexpr std::array<std::string_view, 10> kExtensions{
      ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

Image load_image(const std::filesystem::path& path, const DecodeOptions& options) {
  return decode_image(read_file(path), path.string(), options);
}

std::string jpeg_decoder_name([[maybe_unused]] const DecodeOptions& options) {
#ifdef PROXENT_TURBOJPEG
  return options.prefer_stb ? "stb_image" : detail::libjpeg_name();
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
