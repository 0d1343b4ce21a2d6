// The checksums that files of tensors carry, ours and PyTorch's: a disk or a copy that changed one
// is noticed.
#pragma once

#include <cstdint>

#include "train/safetensors.h"

namespace proxent {

// CRC-32, as zip archives have it, of bytes behind those that `before` is the checksum of.
std::uint32_t crc32_of(const void* data, std::int64_t bytes, std::uint32_t before = 0);

// write_safetensors with "crc32" among the metadata: CRC-32 of all tensors and texts with their
// names ("format" apart, which says what kind of file it is).
void write_with_checksum(const std::filesystem::path& path, const TensorMap& tensors,
                         TextMap metadata);

// Takes the checksum out of what was read; false if there is none, as in files of other writers.
// DataError, naming `origin`, if it is of other contents.
bool take_checksum(SafetensorsFile& file, const std::string& origin);

}  // namespace proxent
