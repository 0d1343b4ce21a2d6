#include "train/describe.h"

#include <doctest/doctest.h>

#include "tests/mat_writer.h"
#include "tests/temp_folder.h"
#include "tests/text_of.h"
#include "train/checkpoint.h"
#include "train/event_file.h"
#include "train/npy.h"

namespace proxent {
namespace {

// The description without the folder's name.
std::string description(const TempFolder& folder, const std::string& name) {
  std::string text = describe_file(folder.path() / name);
  const std::string prefix = folder.path().string() + "/";
  REQUIRE(text.starts_with(prefix));
  return text.substr(prefix.size());
}

TEST_SUITE("describe") {
  TEST_CASE("safetensors: metadata and a table of tensors") {
    const TempFolder folder;
    write_safetensors(folder.path() / "w.safetensors",
                      {{"conv1.weight", Tensor::zeros({2, 3, 7, 7}, DType::f32)},
                       {"n", Tensor::zeros({}, DType::i64)}},
                      {{"format", "pt"}, {"config", "a = 1\nb = 2\n"}});
    CHECK(description(folder, "w.safetensors") ==
          "w.safetensors: safetensors, 1.3 KiB (1376 bytes), 2 tensors, 295 elements\n"
          "metadata:\n"
          "  config:\n"
          "    a = 1\n"
          "    b = 2\n"
          "  format: pt\n"
          "tensors:\n"
          "  name          dtype  shape         bytes\n"
          "  n             I64    ()            8\n"
          "  conv1.weight  F32    (2, 3, 7, 7)  1176\n");
    write_state(folder.path() / "last.state", {});
    CHECK(description(folder, "last.state") ==
          "last.state: training state of proxent (safetensors), 72 bytes, 0 tensors, 0 elements\n"
          "metadata:\n"
          "  crc32: 00000000\n"
          "  format: proxent-state-3\n");
    std::filesystem::copy(folder.path() / "last.state", folder.path() / "renamed");
    CHECK(description(folder, "renamed").starts_with("renamed: training state of proxent"));
    folder.write("bad.safetensors", std::string_view("x"));
    CHECK_THROWS_AS(describe_file(folder.path() / "bad.safetensors"), DataError);
  }

  TEST_CASE("arrays") {
    const TempFolder folder;
    write_npy(folder.path() / "a.npy", Tensor::zeros({3, 4}, DType::f64));
    CHECK(description(folder, "a.npy") ==
          "a.npy: NumPy array, 224 bytes, dtype <f8, shape (3, 4)\n");
    const std::string idx("\0\0\x08\x03\0\0\x01\x02\0\0\0\x1c\0\0\0\x1c", 16);
    folder.write("images", idx);
    CHECK(description(folder, "images") ==
          "images: IDX array, 16 bytes, dtype u8, shape (258, 28, 28)\n");
    // The same, packed by zlib.
    folder.write(
        "images.gz",
        std::string(
            "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x63\x60\xe0\x60\x66\x60\x60\x64\x62\x60"
            "\x60\x90\x01\x61\x00\xd9\x5c\x0d\x12\x10\x00\x00\x00",
            33));
    CHECK(description(folder, "images.gz") ==
          "images.gz: IDX array (gzip), 33 bytes, dtype u8, shape (258, 28, 28)\n");
    folder.write("cut", idx.substr(0, 10));
    CHECK(description(folder, "cut") ==
          "cut: unknown type, 10 bytes, begins 00 00 08 03 00 00 01 02 00 00\n");
  }

  TEST_CASE("MATLAB files and TensorBoard's events") {
    const TempFolder folder;
    folder.write("a.mat", mat::header() + mat::cell("names", {mat::text("x"), mat::text("y")}));
    const std::string text = description(folder, "a.mat");
    CHECK(text.starts_with("a.mat: MATLAB file, "));
    CHECK(text.find(", 1 variable\nvariables:\n  name   kind") != std::string::npos);
    CHECK(text.find("\n  names  ") != std::string::npos);
    std::filesystem::path written;
    {
      EventFile events(folder.path());
      events.add({.step = 1, .values = {{"train/loss", 2}}});
      events.add({.step = 5, .values = {{"train/loss", 0.5}, {"val/R@1", 0.25}}});
      written = events.path();
    }
    std::filesystem::rename(written, folder.path() / "events");
    CHECK(description(folder, "events").find(": TensorBoard events, ") != std::string::npos);
    CHECK(description(folder, "events")
              .ends_with(", 2 events, 2 curves\n"
                         "  curve       points  last step  last value\n"
                         "  train/loss  2       5          0.5\n"
                         "  val/R@1     1       5          0.25\n"));
  }

  TEST_CASE("pictures, by their bytes and not their name") {
    const std::filesystem::path pictures = PROXENT_SOURCE_DIR "/tests/golden/pictures";
    const TempFolder folder;
    const auto copied = [&](const char* name) {
      std::filesystem::copy_file(pictures / name, folder.path() / "x",
                                 std::filesystem::copy_options::overwrite_existing);
      return description(folder, "x");
    };
    CHECK(copied("exif_6.jpg").ends_with(", 30x21 pixels, RGB, 8 bits, EXIF orientation 6\n"));
    CHECK(copied("rgb_16bit.png").ends_with(", 16 bits\n"));
    CHECK(copied("rgb.gif").find("GIF picture") != std::string::npos);
    folder.write("broken", std::string_view("\xff\xd8\xff\xe0 broken"));
    CHECK_THROWS_AS(describe_file(folder.path() / "broken"), DataError);
  }

  TEST_CASE("fonts, and those that lie") {
    const std::filesystem::path fonts = PROXENT_SOURCE_DIR "/tests/fuzz/seeds/font";
    const TempFolder folder;
    const auto copied = [&](const char* name, std::size_t bytes = std::string::npos) {
      folder.write("x", text_of(fonts / name).substr(0, bytes));
      return description(folder, "x");
    };
    // A to C, and of a to c those that have a glyph; with A to E and two faces beyond 65,535.
    CHECK(copied("one.ttf") == "x: font, 176 bytes, \u00c4 Sans, 7 glyphs, 5 characters\n");
    CHECK(copied("two.ttc") == "x: 2 fonts, the first, 188 bytes, 7 glyphs, 7 characters\n");
    for (std::size_t bytes = 5; bytes < 170; bytes += 3)
      CHECK_THROWS_AS(copied("one.ttf", bytes), DataError);
    std::string unordered = text_of(fonts / "two.ttc");
    unordered.replace(unordered.find(std::string("\0\x01\xF6\0", 4)), 4, 4, '\0');
    folder.write("x", unordered);
    CHECK_THROWS_WITH_AS(describe_file(folder.path() / "x"),
                         doctest::Contains("truncated or damaged"), DataError);
    if (const std::filesystem::path dejavu = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
        std::filesystem::exists(dejavu))
      CHECK(describe_file(dejavu).find(", DejaVu Sans, ") != std::string::npos);
  }

  TEST_CASE("everything else gets a short true answer") {
    const TempFolder folder;
    folder.write("empty", std::string_view());
    CHECK(description(folder, "empty") == "empty: empty file\n");
    folder.write("run.toml", std::string_view("[optim]\nlr = 1e-4\n"));
    CHECK(description(folder, "run.toml") ==
          "run.toml: text, 18 bytes, begins\n  [optim]\n  lr = 1e-4\n");
    folder.write("w.pth", std::string_view("PK\x03\x04\x01"));
    CHECK_THROWS_AS(describe_file(folder.path() / "w.pth"), DataError);
    std::filesystem::copy(PROXENT_SOURCE_DIR "/tests/golden/pth/weights.pth",
                          folder.path() / "v.pth");
    CHECK(description(folder, "v.pth")
              .starts_with("v.pth: PyTorch weights, 4.0 KiB (4094 bytes), 14 tensors, 52 elements\n"
                           "tensors:\n  name             dtype  shape   bytes\n"));
    folder.write("elf", std::string_view("\x7f"
                                         "ELF\x02"));
    CHECK(description(folder, "elf") == "elf: unknown type, 5 bytes, begins 7f 45 4c 46 02\n");
    CHECK_THROWS_AS(describe_file(folder.path()), DataError);
    CHECK_THROWS_AS(describe_file(folder.path() / "missing"), DataError);
  }
}

}  // namespace
}  // namespace proxent
