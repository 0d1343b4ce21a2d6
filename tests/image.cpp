#include "data/image.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tensor/random.h"
#include "tests/pillow_golden.h"
#include "tests/temp_folder.h"

namespace proxent {
namespace {

const std::filesystem::path kPictures = PROXENT_SOURCE_DIR "/tests/golden/pictures";

// The message of the DataError that decoding must throw.
std::string reason(std::span<const std::uint8_t> bytes, const DecodeOptions& options = {}) {
  try {
    decode_image(bytes, "p.jpg", options);
  } catch (const DataError& error) {
    return error.message();
  }
  return "no error";
}

TEST_SUITE("image") {
  TEST_CASE("every kind of picture decodes to Pillow's RGB") {
    const auto lines = pillow_golden("decode");
    REQUIRE(lines.size() == 21);
    for (const GoldenLine& line : lines) {
      const std::string& name = line.words[0];
      CAPTURE(name);
      const Image image = load_image(kPictures / name);
      CHECK(image.height == line.number(1));
      CHECK(image.width == line.number(2));
      if (name.ends_with(".jpg") && jpeg_decoder_name() == "stb_image") continue;
      CHECK(crc_text(image) == line.crc);
    }
  }

  TEST_CASE("stb_image's JPEG pixels are near libjpeg's") {
    for (const char* name : {"rgb_444.jpg", "rgb_progressive.jpg", "gray.jpg", "cmyk.jpg"}) {
      CAPTURE(name);
      const Image image = load_image(kPictures / name);
      const Image stb = load_image(kPictures / name, {.prefer_stb = true});
      REQUIRE(stb.pixels.size() == image.pixels.size());
      int largest = 0;
      double sum = 0;
      for (std::size_t i = 0; i < image.pixels.size(); ++i) {
        const int difference = std::abs(int{image.pixels[i]} - int{stb.pixels[i]});
        largest = std::max(largest, difference);
        sum += difference;
      }
      // Another inverse DCT and another interpolation of 4:2:0 chroma, the latter the larger part.
      const bool is_subsampled = std::string_view(name) == "rgb_progressive.jpg";
      CHECK(largest <= (is_subsampled ? 12 : 4));
      CHECK(sum / static_cast<double>(image.pixels.size()) < 1);
    }
  }

  TEST_CASE("the header tells kind, bits and EXIF orientation") {
    const auto info = [](const char* name) {
      return inspect_image(read_file(kPictures / name), name);
    };
    CHECK(info("gray.jpg").kind == PixelKind::gray);
    CHECK(info("cmyk.jpg").kind == PixelKind::cmyk);
    CHECK(info("palette_4bit.png").kind == PixelKind::palette);
    CHECK(info("palette_4bit.png").bits == 4);
    CHECK(info("gray_alpha.png").kind == PixelKind::gray_alpha);
    CHECK(info("rgb_16bit.png").bits == 16);
    CHECK(info("rgb.gif").format == ImageFormat::gif);
    CHECK(info("exif_6.jpg").orientation == 6);
    CHECK(info("exif_6.png").orientation == 6);
    CHECK(info("rgb_420.jpg").orientation == 1);
    CHECK(info("rgb.bmp").width == 30);
    CHECK(name_of(info("rgb.ppm").format) == "PNM");
  }

  TEST_CASE("a BMP whose first row is its top is read, and refused when rows are missing") {
    auto bytes = read_file(kPictures / "rgb.bmp");
    const Image usual = decode_image(bytes, "p.bmp");
    const auto height = static_cast<std::int32_t>(-usual.height);  // the sign says so
    std::memcpy(bytes.data() + 22, &height, sizeof height);
    const Image turned = decode_image(bytes, "p.bmp");
    REQUIRE((turned.height == usual.height && turned.width == usual.width));
    const std::int64_t row = usual.width * Image::kChannels;
    for (std::int64_t y = 0; y < usual.height; ++y)
      CHECK(std::equal(turned.pixels.begin() + y * row, turned.pixels.begin() + (y + 1) * row,
                       usual.pixels.begin() + (usual.height - 1 - y) * row));
    CHECK(reason(std::span(bytes).first(bytes.size() - 1)) != "no error");
  }

  TEST_CASE("EXIF orientation is ignored unless asked for") {
    for (const GoldenLine& line : pillow_golden("upright")) {
      CAPTURE(line.words);
      const Image image = generated_image(5, 7);
      CHECK(crc_text(turn_upright(image, static_cast<int>(line.number(0)))) == line.crc);
    }
    for (const char* name : {"exif_6.jpg", "exif_6.png"}) {
      CAPTURE(name);
      const Image stored = load_image(kPictures / name);
      const Image upright = load_image(kPictures / name, {.apply_exif = true});
      CHECK(stored.width == 30);
      CHECK(upright == turn_upright(stored, 6));
    }
    CHECK_THROWS_AS(turn_upright(Image(5, 7), 9), Error);
  }

  TEST_CASE("a truncated picture is refused at every length, and never crashes") {
    for (const std::string name : {"rgb_420.jpg", "rgb_progressive.jpg", "cmyk.jpg", "palette.png",
                                   "rgb_16bit.png", "rgb.bmp", "rgb.gif", "rgb.ppm"}) {
      const auto bytes = read_file(kPictures / name);
      for (const bool prefer_stb : {false, true})
        for (std::size_t size = 0; size < bytes.size(); size += 7) {
          CAPTURE(name);
          CAPTURE(size);
          CAPTURE(prefer_stb);
          const std::span<const std::uint8_t> part(bytes.data(), size);
          const std::string text = reason(part, {.prefer_stb = prefer_stb});
          CHECK(text != "no error");
        }
    }
    CHECK(reason({}) == "picture p.jpg: the file is empty (0 bytes)");
    const auto jpeg = read_file(kPictures / "rgb_420.jpg");
    CHECK(reason(std::span(jpeg).first(jpeg.size() / 2 + 200)) ==
          "picture p.jpg: truncated JPEG, the data ends before the picture is complete");
    CHECK(reason(std::span(jpeg).first(40)) ==
          "picture p.jpg: truncated JPEG, the file ends inside its header");
  }

  TEST_CASE("a JPEG of more scans than any real one is refused before they cost time") {
    const auto jpeg = read_file(kPictures / "rgb_progressive.jpg");
    constexpr std::array<std::uint8_t, 2> kScan{0xFF, 0xDA};
    const auto last = std::find_end(jpeg.begin(), jpeg.end(), kScan.begin(), kScan.end());
    const auto end = jpeg.end() - 2;
    for (const bool prefer_stb : {false, true})
      for (const auto& [more, expected] :
           {std::pair(80, "no error"),
            {100,
             "picture p.jpg: broken JPEG (more than 100 scans, where progressive files have about "
             "10; save it anew)"}}) {
        auto bytes = jpeg;
        for (int i = 0; i < more; ++i) bytes.insert(bytes.end() - 2, last, end);
        CHECK(reason(bytes, {.prefer_stb = prefer_stb}) == expected);
      }
  }

  TEST_CASE("damaged bytes give a picture or a DataError, nothing else") {
    Philox random(5, 0);
    for (const char* name : {"rgb_420.jpg", "rgb_progressive.jpg", "gray.jpg", "palette.png",
                             "exif_6.jpg", "rgb.bmp", "rgb.gif", "gray.pgm"}) {
      const auto original = read_file(kPictures / name);
      for (int round = 0; round < 200; ++round) {
        auto bytes = original;
        for (int i = 0; i < 3; ++i)
          bytes[random.below(static_cast<std::int64_t>(bytes.size()))] =
              static_cast<std::uint8_t>(random());
        // A small limit, since a damaged header may ask for any size.
        for (const bool prefer_stb : {false, true})
          (void)reason(bytes, {.prefer_stb = prefer_stb, .max_pixels = 1 << 20});
      }
    }
    auto png = read_file(kPictures / "rgb.png");
    png[png.size() / 2] ^= 1;
    CHECK(reason(png) == "picture p.jpg: broken PNG, a chunk's checksum is wrong");
  }

  TEST_CASE("PNM of any depth, with comments") {
    const auto decode = [](std::string_view text) {
      return decode_image({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, "p");
    };
    CHECK(decode("P5 2 1 255\nab").pixels == std::vector<std::uint8_t>{97, 97, 97, 98, 98, 98});
    CHECK(decode(std::string_view("P5\n# two\n2 1\n1\n\0\1", 17)).pixels[3] == 255);
    CHECK(decode("P6 1 1 65535 \xFF\xFF\x80\x80\x01\x01").pixels ==
          std::vector<std::uint8_t>{255, 128, 1});
    for (const char* bad : {"P5 2 1 255\na", "P5 2 1", "P5 2 0 255\n", "P5 2 1 65536\nabcd",
                            "P5 -2 1 255\nab", "P5 9999999999 1 255\na", "P6"})
      CHECK_THROWS_AS(decode(bad), DataError);
  }

  TEST_CASE("what is no picture is named") {
    const auto text = [](std::string_view data) {
      return reason({reinterpret_cast<const std::uint8_t*>(data.data()), data.size()});
    };
    CHECK(text("this is a text file that someone renamed to .jpg") ==
          "picture p.jpg: not a JPEG, PNG, BMP, GIF or PNM picture");
    CHECK(text(std::string_view("RIFF\0\0\0\0WEBPVP8 ", 16)) ==
          "picture p.jpg: WebP, which is not supported; convert it to JPEG or PNG");
    CHECK(text("\xFF") == "picture p.jpg: not a JPEG, PNG, BMP, GIF or PNM picture");
  }

  TEST_CASE("a huge picture is refused on its header") {
    auto png = read_file(kPictures / "rgb.png");
    png[16] = 0x40;  // width 2^30 + 30: decoding would first ask for 67 GB
    CHECK(
        reason(png).starts_with("picture p.jpg: 1073741854x21 pixels, more than the limit of "
                                "178956970"));
    auto gif = read_file(kPictures / "rgb.gif");
    gif[7] = gif[9] = 0x32;  // 12,800 pixels and more on either side, within the limit
    CHECK(reason(gif).find("bytes that claim") != std::string::npos);
    const auto jpeg = read_file(kPictures / "rgb_420.jpg");
    CHECK(reason(jpeg, {.max_pixels = 629}).starts_with("picture p.jpg: 30x21 pixels, more than"));
    CHECK(reason(jpeg, {.max_pixels = 630}) == "no error");
  }

  TEST_CASE("files that cannot be read are named with the reason") {
    const TempFolder folder;
    const auto text = [](const std::filesystem::path& path) {
      try {
        load_image(path);
      } catch (const DataError& error) {
        return error.message();
      }
      return std::string("no error");
    };
    const auto missing = folder.path() / "missing.jpg";
    CHECK(text(missing) == "cannot read " + missing.string() + ": no such file");
    const auto loop = folder.path() / "loop.jpg";  // exists, and cannot be looked at
    std::filesystem::create_symlink(loop, loop);
    CHECK(text(loop) == "cannot read " + loop.string() + ": Too many levels of symbolic links");
    CHECK(text(folder.path()) == "cannot read " + folder.path().string() + ": not a regular file");
    const auto empty = folder.write("empty.jpg", std::string_view());
    CHECK(text(empty) == "picture " + empty.string() + ": the file is empty (0 bytes)");
  }

  TEST_CASE("PNG round trip, any size, same bytes twice") {
    const TempFolder folder;
    for (const auto& [height, width] : {std::pair(1, 1), {1, 300}, {257, 1}, {33, 41}}) {
      const Image image = generated_image(height, width);
      const auto bytes = encode_png(image);
      CHECK(decode_image(bytes, "round trip") == image);
      CHECK(encode_png(image) == bytes);
    }
    write_png(folder.path() / "a.png", generated_image(9, 9));
    CHECK(load_image(folder.path() / "a.png") == generated_image(9, 9));
    CHECK_THROWS_AS(encode_png(Image()), Error);
    CHECK_THROWS_AS(write_png(folder.path() / "no" / "a.png", Image(1, 1)), DataError);
  }
}
}  // namespace
}  // namespace proxent
