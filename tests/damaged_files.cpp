// Whatever is done to a file, reading it ends, in its content or in a reason.
//
// FUZZ=N tries N damaged copies for each reader; 2000 unless said. Longer: scripts/fuzz.sh.
#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "data/idx.h"
#include "data/image.h"
#include "data/mat.h"
#include "tensor/random.h"
#include "tests/fuzz/readers.h"
#include "tests/mat_writer.h"
#include "tests/temp_folder.h"
#include "train/pth.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

// In the order of their names.
std::vector<Bytes> files_in(const fs::path& folder) {
  std::vector<fs::path> paths;
  if (fs::exists(folder))
    for (const auto& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> files;
  for (const fs::path& path : paths) {
    std::ifstream file(path, std::ios::binary);
    files.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return files;
}

std::uint32_t place_in(const Bytes& bytes, Philox& random) {
  return random.below(static_cast<std::uint32_t>(bytes.size()));
}

// A few bytes changed, numbers set to their limits, pieces cut out or doubled, the end cut off.
Bytes damaged(Bytes bytes, Philox& random) {
  for (auto changes = 1 + random.below(4); changes > 0 && !bytes.empty(); --changes) {
    const auto at = bytes.begin() + place_in(bytes, random);
    const auto end = at + std::min<std::ptrdiff_t>(bytes.end() - at, 1 + random.below(16));
    switch (random.below(6)) {
      case 0:
        *at = static_cast<std::uint8_t>(random.below(256));
        break;
      case 1:
        *at ^= static_cast<std::uint8_t>(1u << random.below(8));
        break;
      case 2:
        std::fill(at, end, random.below(2) ? 0xff : 0x00);
        break;
      case 3:
        bytes.erase(at, end);
        break;
      case 4: {
        const Bytes piece(at, end);
        bytes.insert(at, piece.begin(), piece.end());
        break;
      }
      default:
        if (random.below(4) == 0) bytes.erase(at, bytes.end());
    }
  }
  return bytes;
}

std::string big_endian(std::uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> 8 * i);
  return text;
}

// `size` zeros, packed by zlib, which 1032 of them take a byte of; never in memory all at once.
std::string packed_zeros(std::size_t size, bool as_gzip = false, const std::string& start = "") {
  constexpr int kWindow = 15, kGzip = 16;
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kWindow + (as_gzip ? kGzip : 0), 8,
                       Z_DEFAULT_STRATEGY) == Z_OK);
  std::string packed;
  const auto add = [&](const std::string& bytes, int flush) {
    std::array<Bytef, 4096> out;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    do {
      stream.next_out = out.data();
      stream.avail_out = static_cast<uInt>(out.size());
      deflate(&stream, flush);
      packed.append(reinterpret_cast<char*>(out.data()), out.size() - stream.avail_out);
    } while (stream.avail_out == 0);
  };
  add(start, Z_NO_FLUSH);
  const std::string zeros(1 << 16, '\0');
  for (std::size_t i = 0; i < size; i += zeros.size()) add(zeros, Z_NO_FLUSH);
  add("", Z_FINISH);
  deflateEnd(&stream);
  return packed;
}

std::string png_chunk(std::string body) {
  const auto checksum = static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size())));
  const auto length = static_cast<std::uint32_t>(body.size() - 4);
  return big_endian(length, 4) + std::move(body) + big_endian(checksum, 4);
}

std::string png(std::uint32_t side, const std::string& packed) {
  using std::string_literals::operator""s;
  return "\x89PNG\r\n\x1a\n" +
         png_chunk("IHDR" + big_endian(side, 4) + big_endian(side, 4) + "\x8\2\0\0\0"s) +
         png_chunk("IDAT" + packed) + png_chunk("IEND");
}

// A header, and a scan that goes on to the end.
std::string jpeg(std::uint32_t side) {
  using std::string_literals::operator""s;
  return "\xff\xd8\xff\xc0\0\x11\x8"s + big_endian(side, 2) + big_endian(side, 2) +
         "\3\1\x22\0\2\x11\1\3\x11\1\xff\xda\0\xc\3\1\0\2\x11\3\x11\0\x3f\0"s +
         std::string(100, '\0') + "\xff\xd9";
}

// The stored entry of a zip archive whose directory calls it deflated.
std::string zip_of_deflated(const std::string& name, const std::string& packed,
                            std::uint32_t unpacked) {
  using mat::raw;
  const auto sizes = raw(std::uint32_t{0}) + raw(static_cast<std::uint32_t>(packed.size())) +
                     raw(unpacked) + raw(static_cast<std::uint16_t>(name.size()));
  const std::string how = raw(std::uint16_t{20}) + raw(std::uint16_t{0}) + raw(std::uint16_t{8}) +
                          raw(std::uint32_t{0}) + sizes;
  const std::string entry = "PK\3\4" + how + raw(std::uint16_t{0}) + name + packed;
  const std::string directory = "PK\1\2" + raw(std::uint16_t{20}) + how + std::string(12, '\0') +
                                raw(std::uint32_t{0}) + name;
  return entry + directory + "PK\5\6" + raw(std::uint32_t{0}) + raw(std::uint16_t{1}) +
         raw(std::uint16_t{1}) + raw(static_cast<std::uint32_t>(directory.size())) +
         raw(static_cast<std::uint32_t>(entry.size())) + raw(std::uint16_t{0});
}

// Kilobytes that this process has in memory (VmRSS), or had at most (VmHWM); Linux, proc(5).
std::int64_t kilobytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field + ":")) return std::atoll(line.c_str() + field.size() + 1);
  return 0;
}

// Why reading fails; that it takes little memory is checked too.
template <class F>
std::string refusal(F read) {
  std::ofstream peak("/proc/self/clear_refs");
  peak << 5 << std::flush;  // the peak begins anew
  const bool is_measured = peak.good();
  const std::int64_t before = kilobytes("VmRSS");
  std::string reason = "none";
  try {
    read();
  } catch (const DataError& error) {
    reason = error.message();
  }
  if (is_measured) CHECK(kilobytes("VmHWM") - before < 32 << 10);
  return reason;
}

TEST_SUITE("damaged files") {
  TEST_CASE("every reader takes its seeds") {
    for (const Reader& reader : readers()) {
      CAPTURE(std::string(reader.name));
      const auto seeds = files_in(fs::path(PROXENT_SOURCE_DIR "/tests") / reader.seeds);
      REQUIRE(!seeds.empty());
      for (const Bytes& seed : seeds) CHECK(reads(reader, seed));
    }
  }

  TEST_CASE("what fuzzing found stays mended") {
    const fs::path findings = PROXENT_SOURCE_DIR "/tests/fuzz/findings";
    std::ptrdiff_t readers_with_findings = 0;
    for (const Reader& reader : readers()) {
      const auto files = files_in(findings / reader.name);
      for (const Bytes& file : files) reads(reader, file);
      readers_with_findings += !files.empty();
    }
    // Each folder is a reader's, so none is left out for its name.
    CHECK(readers_with_findings ==
          std::distance(fs::directory_iterator(findings), fs::directory_iterator()));
    CHECK(readers_with_findings > 0);
  }

  TEST_CASE("damaged copies are read or refused") {
    const char* asked = std::getenv("FUZZ");
    const int count = asked ? std::atoi(asked) : 2000;
    for (const Reader& reader : readers()) {
      CAPTURE(std::string(reader.name));
      Philox random(1, stream_of(reader.name));
      const auto seeds = files_in(fs::path(PROXENT_SOURCE_DIR "/tests") / reader.seeds);
      int accepted = 0;
      for (int i = 0; i < count; ++i)
        accepted +=
            reads(reader, damaged(seeds[static_cast<std::size_t>(i) % seeds.size()], random));
      CHECK(accepted < count);
    }
  }

  TEST_CASE("pictures that would fill the memory are refused on their headers") {
    for (const bool prefer_stb : {false, true})
      for (const std::string& file : {png(65535, packed_zeros(1000)), jpeg(65535)}) {
        const auto bytes =
            std::span(reinterpret_cast<const std::uint8_t*>(file.data()), file.size());
        CHECK(refusal([&] {
                decode_image(bytes, "p", {.prefer_stb = prefer_stb});
              }).starts_with("picture p: 65535x65535 pixels, more than the limit of 178956970"));
      }
  }

  TEST_CASE("files that unpack to a thousand times their size are refused") {
    constexpr std::size_t kUnpacked = std::size_t{64} << 20;
    const std::string zlib = packed_zeros(kUnpacked);
    const auto bytes_of = [](const std::string& file) {
      return std::span(reinterpret_cast<const std::uint8_t*>(file.data()), file.size());
    };

    const std::string picture = png(1, zlib);
    CHECK(refusal([&] { decode_image(bytes_of(picture), "p"); }) ==
          "picture p: cannot be decoded (it unpacks to more than its size says)");

    const std::string annotations = mat::header() + mat::raw(std::uint32_t{15}) +
                                    mat::raw(static_cast<std::uint32_t>(zlib.size())) + zlib;
    CHECK(refusal([&] {
            MatFile::parse(bytes_of(annotations), "m");
          }).starts_with("m: unpacks to more than"));

    const TempFolder folder;
    const auto idx = folder.write(
        "labels.gz", packed_zeros(kUnpacked, /*as_gzip=*/true,
                                  std::string("\0\0\x8\1", 4) + big_endian(kUnpacked, 4)));
    CHECK(refusal([&] { read_idx(idx, 1); }).find("asks for more than") != std::string::npos);
    const auto longer =
        folder.write("longer.gz", packed_zeros(kUnpacked, /*as_gzip=*/true,
                                               std::string("\0\0\x8\1", 4) + big_endian(1000, 4)));
    CHECK(refusal([&] { read_idx(longer, 1); }).ends_with("longer than its header says"));

    const auto pth = folder.write("w.pth", zip_of_deflated("w/data.pkl", zlib, kUnpacked));
    CHECK(refusal([&] {
            read_pth(pth);
          }).find("has 'w/data.pkl' compressed, which torch.save never does") != std::string::npos);
  }
}

}  // namespace
}  // namespace proxent
