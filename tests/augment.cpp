// Crop, flip and normalise: on both devices the bits of the transforms of data/, and what lies
// beside a picture is black.
#include "tensor/augment.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "data/transform.h"
#include "tests/devices.h"
#include "tests/tensors.h"

namespace proxent {
namespace {

// Bytes that differ from their neighbours, so that a wrong pixel shows.
Tensor pictures(const Shape& shape) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(i * 2654435761u >> 13);
  return Tensor::from(shape, bytes);
}
Tensor places_of(const std::vector<std::int32_t>& values) {
  return Tensor::from<std::int32_t>({static_cast<std::int64_t>(values.size()) / 3, 3}, values);
}
AugmentOptions image_net(std::int64_t height, std::int64_t width) {
  const Transform defaults;
  return {.height = height, .width = width, .mean = defaults.mean, .std = defaults.std};
}
float normalised(std::uint8_t byte, std::size_t colour, const Transform& transform) {
  return (static_cast<float>(byte) / 255.0f - transform.mean[colour]) / transform.std[colour];
}
}  // namespace
}  // namespace proxent

TEST_SUITE("augment") {
  using namespace proxent;

  TEST_CASE("the bits are those of the host's transform") {
    Transform transform;
    transform.crop = Crop::random;
    transform.resize = 0;
    transform.padding = 3;
    transform.hflip = 0.5;
    for (const std::int64_t side : {8, 13, 16}) {
      transform.image_size = side;
      const std::int64_t count = 12, height = 15, width = 11;
      const Tensor x = pictures({count, height, width, kColours});
      Tensor expected({count, side, side, kColours}, DType::f32);
      std::vector<std::int32_t> places;
      for (std::int64_t n = 0; n < count; ++n) {
        const auto* bytes = x.data<std::uint8_t>() + n * height * width * kColours;
        Image image(height, width);
        image.pixels.assign(bytes, bytes + height * width * kColours);
        const auto stream = static_cast<std::uint64_t>(n);
        Philox random(1, stream), same(1, stream);
        const Image out = transform.apply(image, random);
        for (std::size_t i = 0; i < out.pixels.size(); ++i)
          expected.slice(n, 1).data<float>()[i] =
              normalised(out.pixels[i], i % kColours, transform);
        // The numbers that the transform drew.
        for (const std::int64_t size : {height, width}) {
          const std::int64_t room = size + 2 * transform.padding - side;
          places.push_back(static_cast<std::int32_t>(same.below(room + 1) - transform.padding));
        }
        places.push_back(same.uniform() < transform.hflip);
      }
      on_every_device([&](Device device) {
        INFO(detail::concat(side, " on ", device));
        const Tensor y = augment(x.to(device), places_of(places).to(device), image_net(side, side));
        CHECK(is_bitwise_equal(y.to(Device::cpu), expected));
      });
    }
  }

  TEST_CASE("crops, flips and what lies beside the picture") {
    const Tensor x = Tensor::from<std::uint8_t>({1, 2, 2, 3}, {1, 2, 3, 4, 5, 6,  //
                                                               7, 8, 9, 10, 11, 12});
    const AugmentOptions plain{
        .height = 2, .width = 3, .std = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f}};
    const auto shown = [&](std::vector<std::int32_t> place, Device device) {
      const Tensor y = augment(x.to(device), places_of(place).to(device), plain);
      std::vector<int> rounded;
      for (const float value : y.to_vector<float>())
        rounded.push_back(static_cast<int>(std::lround(value)));
      return rounded;
    };
    using Values = std::vector<int>;
    on_every_device([&](Device device) {
      CHECK(shown({0, 0, 0}, device) ==
            Values{1, 2, 3, 4, 5, 6, 0, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0, 0});
      CHECK(shown({0, 0, 1}, device) ==
            Values{0, 0, 0, 4, 5, 6, 1, 2, 3, 0, 0, 0, 10, 11, 12, 7, 8, 9});
      CHECK(shown({1, -1, 0}, device) ==
            Values{0, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0});
      CHECK(shown({-1, -1, 1}, device) ==
            Values{0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 5, 6, 1, 2, 3, 0, 0, 0});
      CHECK(shown({-5, 100, 1}, device) == Values(18, 0));
      constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();
      CHECK(shown({kMost, 0, 0}, device) == Values(18, 0));
      CHECK(shown({0, kMost, 1}, device) == Values(18, 0));
      CHECK(shown({-kMost, -kMost, 0}, device) == Values(18, 0));
    });
  }

  TEST_CASE("every dtype and size is the CPU's float32, rounded") {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
      for (const Shape& size : {Shape{1, 1}, Shape{1, 8}, Shape{17, 5}, Shape{16, 16},
                                Shape{33, 96}, Shape{0, 4}, Shape{4, 0}}) {
        INFO(size, detail::concat(" in ", dtype));
        const Tensor x = pictures({3, 20, 23, kColours});
        const Tensor places = places_of({0, 0, 0, 3, -2, 1, -4, 7, 1});
        const AugmentOptions options = image_net(size[0], size[1]);
        const Tensor expected = augment(x, places, options).to(dtype);
        on_every_device([&](Device device) {
          const Tensor y = augment(x.to(device), places.to(device), options, dtype);
          CHECK(is_bitwise_equal(y.to(Device::cpu), expected));
          const Tensor none =
              augment(x.slice(0, 0).to(device), places.slice(0, 0).to(device), options, dtype);
          CHECK(none.shape() == Shape{0, size[0], size[1], kColours});
        });
      }
  }

  TEST_CASE("what does not fit is refused") {
    const Tensor x({2, 4, 4, 3}, DType::u8), places({2, 3}, DType::i32);
    const auto refused = [](const auto& call, const char* text) {
      CHECK_THROWS_WITH_AS(call(), doctest::Contains(text), Error);
    };
    refused([&] { augment(x.to(DType::f32), places, image_net(4, 4)); },
            "augment: x must be (N, H, W, 3) u8, got (2, 4, 4, 3) f32");
    refused(
        [&] {
          augment(x.reshape({2, 3, 4, 4}), places, image_net(4, 4));
        },
        "augment: x must be (N, H, W, 3) u8, got (2, 3, 4, 4) u8");
    refused([&] { augment(x, places.slice(0, 1), image_net(4, 4)); },
            "augment: places should be (2, 3) i32 on cpu, got (1, 3) i32");
    refused([&] { augment(x, places, image_net(4, 4), DType::f64); },
            "augment: y must be f32, bf16 or f16, not f64");
    refused([&] { augment(x, places, image_net(-1, 4)); }, "augment: y cannot be -1 x 4");
    AugmentOptions flat = image_net(4, 4);
    flat.std[1] = 0;
    refused([&] { augment(x, places, flat); }, "std positive, got 0.456 and 0");
  }
}
