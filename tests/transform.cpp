#include "data/transform.h"

#include <doctest/doctest.h>

#include <set>

#include "data/contact_sheet.h"
#include "tests/pillow_golden.h"

namespace proxent {
namespace {
TEST_SUITE("transform") {
  TEST_CASE("resize equals Pillow's bilinear bit for bit") {
    const auto lines = pillow_golden("resize");
    REQUIRE(lines.size() > 60);
    for (const GoldenLine& line : lines) {
      const Image image = generated_image(line.number(0), line.number(1));
      CAPTURE(line.words);
      CHECK(crc_text(resize_bilinear(image, line.number(2), line.number(3))) == line.crc);
    }
  }

  TEST_CASE("short-side resize and centre crop equal torchvision's") {
    for (const GoldenLine& line : pillow_golden("short")) {
      CAPTURE(line.words);
      const Image image = generated_image(line.number(0), line.number(1));
      CHECK(crc_text(resize_short_side(image, line.number(2))) == line.crc);
    }
    for (const GoldenLine& line : pillow_golden("center")) {
      CAPTURE(line.words);
      const Image image = generated_image(line.number(0), line.number(1));
      const CropBox box = center_box(image.height, image.width, line.number(2));
      CHECK(crc_text(crop(image, box)) == line.crc);
    }
  }

  TEST_CASE("the evaluation pipeline equals torchvision's in every float") {
    const Transform transform{.image_size = 56, .resize = 64, .crop = Crop::center};
    const auto lines = pillow_golden("eval56");
    REQUIRE(lines.size() == 2);
    for (const GoldenLine& line : lines) {
      const Image image = generated_image(line.number(0), line.number(1));
      Philox random(1, 2);
      const Image small = transform.apply(image, random);
      const Tensor out = augment(Tensor::from({1, 56, 56, 3}, small.pixels),
                                 Tensor::zeros({1, 3}, DType::i32), transform.normalisation());
      CHECK(crc_text(out.data<float>(), static_cast<std::size_t>(out.bytes())) == line.crc);
      CHECK(random.position() == 0);  // nothing random in it
    }
  }

  TEST_CASE("a box resizes like the cropped picture") {
    const Image image = generated_image(40, 50);
    const CropBox box{7, 11, 21, 30};
    CHECK(resize_bilinear(image, box, 16, 16) == resize_bilinear(crop(image, box), 16, 16));
    CHECK(resize_bilinear(image, box, 21, 30) == crop(image, box));
  }

  TEST_CASE("crop is black outside, flip is its own inverse") {
    const Image image = generated_image(4, 5);
    const Image padded = crop(image, {-1, -2, 6, 9});
    CHECK(padded.pixel(0, 3)[0] == 0);
    CHECK(padded.pixel(1, 1)[2] == 0);
    CHECK(std::equal(padded.pixel(1, 2), padded.pixel(1, 2) + 3, image.pixel(0, 0)));
    CHECK(std::equal(padded.pixel(4, 6), padded.pixel(4, 6) + 3, image.pixel(3, 4)));
    CHECK(crop(image, {10, 10, 2, 2}) == Image(2, 2));
    CHECK(flip_horizontal(flip_horizontal(image)) == image);
    CHECK(!(flip_horizontal(image) == image));
  }

  TEST_CASE("random resized boxes keep scale and ratio and reach every corner") {
    Philox random(3, 0);
    const std::int64_t height = 90, width = 120;
    double smallest = 1, largest = 0;
    std::set<bool> tops, lefts;
    for (int i = 0; i < 2000; ++i) {
      const CropBox box = random_resized_box(height, width, {0.2, 0.9}, {0.5, 2.0}, random);
      REQUIRE(box.top >= 0);
      REQUIRE(box.left >= 0);
      REQUIRE(box.top + box.height <= height);
      REQUIRE(box.left + box.width <= width);
      const double share = double(box.height * box.width) / double(height * width);
      smallest = std::min(smallest, share);
      largest = std::max(largest, share);
      tops.insert(box.top == 0);
      lefts.insert(box.left + box.width == width);
    }
    // Rounding to whole pixels moves the share of such a box by under 2 %.
    CHECK(smallest > 0.2 - 0.02);
    CHECK(smallest < 0.25);
    CHECK(largest < 0.9 + 0.02);
    CHECK(largest > 0.8);
    CHECK(tops.size() == 2);
    CHECK(lefts.size() == 2);
  }

  TEST_CASE("a picture too long for any try falls back to the allowed central box") {
    Philox random(0, 0);
    const CropBox box = random_resized_box(10, 1000, {1, 1}, {3. / 4, 4. / 3}, random);
    CHECK(box == CropBox{0, 493, 10, 13});
    const CropBox tall = random_resized_box(1000, 9, {1, 1}, {3. / 4, 4. / 3}, random);
    CHECK(tall == CropBox{494, 0, 12, 9});
  }

  TEST_CASE("a strip that would be resized to more pixels than a file may have is refused") {
    CHECK_THROWS_WITH_AS(
        resize_short_side(Image(1, 60000), 256),
        doctest::Contains("a picture of 60000x1 becomes one of 15360000x256 pixels "
                          "where its short side is 256; crop it first"),
        DataError);
    CHECK(resize_short_side(Image(1, 600), 4).width == 2400);
  }

  TEST_CASE("every crop gives the asked size, from 1x1 pictures too") {
    for (const Crop kind : {Crop::none, Crop::center, Crop::random, Crop::random_resized})
      for (const std::int64_t side : {1, 3, 40}) {
        const Transform transform{.image_size = 32,
                                  .resize = side == 3 ? 36 : 0,
                                  .crop = kind,
                                  .padding = 2,
                                  .hflip = 0.5};
        Philox random(1, static_cast<std::uint64_t>(side));
        const Image out = transform.apply(generated_image(side, side + 5), random);
        CHECK(out.height == 32);
        CHECK(out.width == 32);
        CHECK(out.pixels.size() == 32 * 32 * 3);
      }
    Philox random(0, 0);
    CHECK_THROWS_AS(Transform{}.apply(Image(), random), Error);
  }

  TEST_CASE("flips come as often as asked") {
    const Image image = generated_image(8, 8);
    const Transform transform{.image_size = 8, .resize = 0, .crop = Crop::none, .hflip = 0.25};
    int flips = 0;
    for (int i = 0; i < 4000; ++i) {
      Philox random(7, static_cast<std::uint64_t>(i));
      flips += transform.apply(image, random) == flip_horizontal(image);
    }
    CHECK(flips > 1000 - 110);  // four standard deviations of a binomial(4000, 1/4)
    CHECK(flips < 1000 + 110);
  }

  TEST_CASE("describe tells pipelines apart, validate names the bad value") {
    CHECK(Transform::eval(224).describe() ==
          "resize short side 256 bilinear > center crop 224 > /255 > minus mean 0.485 "
          "0.456 0.406 > over std 0.229 0.224 0.225");
    CHECK(Transform::train(224).describe() != Transform::train(128).describe());
    CHECK(crop_from_name("rrc") == Crop::random_resized);
    CHECK_THROWS_WITH_AS(crop_from_name("middle"),
                         doctest::Contains("crop must be none, center, random or rrc, got middle"),
                         UsageError);
    Transform bad;
    bad.rrc_scale = {0.5, 0.1};
    CHECK_THROWS_WITH_AS(bad.validate(), doctest::Contains("got 0.5, 0.1"), UsageError);
    bad = {};
    bad.std[1] = 0;
    CHECK_THROWS_AS(bad.validate(), UsageError);
    CHECK_NOTHROW(Transform::train(224).validate());
  }

  TEST_CASE("a contact sheet frames its pictures") {
    Image small(10, 20, 7), large(300, 150, 9);
    const SheetOptions options{.cell = 40, .frame = 2, .gap = 3, .first_gap = 8};
    const Image sheet = contact_sheet({{{small, Frame::none}, {large, Frame::green}}, {}}, options);
    CHECK(sheet.height == 3 + 2 * 47);
    CHECK(sheet.width == 3 + 2 * 47 + 5);
    CHECK(sheet.pixel(3 + 2 + 10, 3 + 2)[0] == 7);  // 20x40 after doubling, centred in the cell
    CHECK(sheet.pixel(3 + 2 + 9, 3 + 2)[0] == 255);
    CHECK(sheet.pixel(3 + 2, 3 + 52 + 2 + 10)[0] == 9);  // 40x20
    CHECK(sheet.pixel(3, 3 + 52 + 2 + 10)[1] == 160);    // green above it
    CHECK(sheet.pixel(60, 60)[0] == 255);                // an empty row stays white
    CHECK_THROWS_AS(contact_sheet({}), Error);
    CHECK_THROWS_AS(contact_sheet({{}}), Error);
  }
}
}  // namespace
}  // namespace proxent
