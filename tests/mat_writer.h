// Writes MAT files of version 5 for tests, after the same document as data/mat.cpp but not with its
// code.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace proxent::mat {

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

inline std::string element(std::uint32_t type, const std::string& data) {
  std::string out = raw(type) + raw(static_cast<std::uint32_t>(data.size())) + data;
  out.append((8 - data.size() % 8) % 8, '\0');
  return out;
}

// At most 4 bytes beside their tag.
inline std::string small_element(std::uint16_t type, const std::string& data) {
  std::string out = raw(type) + raw(static_cast<std::uint16_t>(data.size())) + data;
  return out.append(4 - data.size(), '\0');
}

inline std::string matrix(std::uint8_t array_class, std::vector<std::int32_t> sizes,
                          const std::string& name, const std::string& content) {
  std::string dimensions;
  for (const std::int32_t size : sizes) dimensions += raw(size);
  return element(14, element(6, raw(std::uint32_t{array_class}) + raw(std::uint32_t{0})) +
                         element(5, dimensions) + element(1, name) + content);
}

// A double that fits a byte, as MATLAB stores it.
inline std::string number(std::uint8_t value) {
  return matrix(6, {1, 1}, "", small_element(2, raw(value)));
}

inline std::string text(const std::string& ascii, const std::string& name = "") {
  std::string wide;
  for (const char c : ascii) wide += raw(static_cast<std::uint16_t>(static_cast<unsigned char>(c)));
  return matrix(4, {1, static_cast<std::int32_t>(ascii.size())}, name, element(4, wide));
}

inline std::string cell(const std::string& name, const std::vector<std::string>& items) {
  std::string content;
  for (const std::string& item : items) content += item;
  return matrix(1, {1, static_cast<std::int32_t>(items.size())}, name, content);
}

// `items`: all fields of the first element, then all of the second, ...
inline std::string structure(const std::string& name, const std::vector<std::string>& fields,
                             const std::vector<std::string>& items) {
  constexpr std::int32_t kLength = 32;
  std::string names;
  for (const std::string& field : fields) {
    names += field;
    names.append(kLength - field.size(), '\0');
  }
  std::string content = small_element(5, raw(kLength)) + element(1, names);
  for (const std::string& item : items) content += item;
  return matrix(2, {1, static_cast<std::int32_t>(items.size() / fields.size())}, name, content);
}

inline std::string compressed(const std::string& variable) {
  uLongf size = compressBound(variable.size());
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size,
           reinterpret_cast<const Bytef*>(variable.data()), variable.size());
  packed.resize(size);
  return raw(std::uint32_t{15}) + raw(static_cast<std::uint32_t>(size)) + packed;
}

inline std::string header() {
  std::string text = "MATLAB 5.0 MAT-file, written by a test";
  text.resize(124, ' ');
  return text + raw(std::uint16_t{0x0100}) + "IM";
}

}  // namespace proxent::mat
