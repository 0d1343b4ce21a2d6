// MNIST's file format: big-endian sizes, then elements; gzipped or plain.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace proxent {

struct IdxHeader {
  std::string dtype;  // "u8"
  std::vector<std::int64_t> shape;
  bool is_gzipped = false;
};

// What the first bytes say; none if they are not of an IDX file, or if it ends inside its header.
std::optional<IdxHeader> read_idx_header(const std::filesystem::path& path);

struct IdxArray {
  std::vector<std::int64_t> sizes;
  std::vector<std::uint8_t> bytes;  // row-major
};

// An array of bytes with `rank` dimensions. DataError: of another type or rank, truncated, longer
// than its header says, damaged gzip, more than 8 GiB or than 100 times the file (and 1 MiB).
IdxArray read_idx(const std::filesystem::path& path, std::size_t rank);

}  // namespace proxent
