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

}  // namespace proxent
