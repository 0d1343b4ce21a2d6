// The CRC-32s of golden/pillow.txt and the picture that make_pillow_golden.py generates.
#pragma once

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "data/image.h"

namespace proxent {

struct GoldenLine {
  std::vector<std::string> words;  // between the operation's name and the CRC
  std::string crc;
  std::int64_t number(std::size_t i) const { return std::stoll(words.at(i)); }
};

// The lines of one operation.
inline std::vector<GoldenLine> pillow_golden(const std::string& operation) {
  std::ifstream file(PROXENT_SOURCE_DIR "/tests/golden/pillow.txt");
  std::vector<GoldenLine> lines;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word != operation) continue;
    GoldenLine golden;
    while (words >> word) golden.words.push_back(word);
    golden.crc = golden.words.back();
    golden.words.pop_back();
    lines.push_back(golden);
  }
  return lines;
}

// A gradient under six bits of noise.
inline Image generated_image(std::int64_t height, std::int64_t width) {
  Image image(height, width);
  auto state = static_cast<std::uint32_t>(height * 65536 + width);
  for (std::int64_t i = 0; i < height * width * 3; ++i) {
    state = state * 1664525u + 1013904223u;
    image.pixels[i] = static_cast<std::uint8_t>((i / 3 % width) * 200 / width + (state >> 26));
  }
  return image;
}

// CRC-32 (that of zlib) as eight hexadecimal digits; bit by bit, so that tests need no library.
inline std::string crc_text(const void* data, std::size_t size) {
  std::uint32_t crc = ~0u;
  for (std::size_t i = 0; i < size; ++i) {
    crc ^= static_cast<const std::uint8_t*>(data)[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
  }
  char text[9];
  std::snprintf(text, sizeof text, "%08x", ~crc);
  return text;
}
inline std::string crc_text(const Image& image) {
  return crc_text(image.pixels.data(), image.pixels.size());
}

}  // namespace proxent
