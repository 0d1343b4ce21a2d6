// safetensors files: named tensors behind a JSON header (github.com/huggingface/safetensors).
//   u64 N | N bytes of JSON {"name":{"dtype","shape","data_offsets":[begin,end]},...} | data
// Reading is strict, and nothing is allocated that the file's own size does not justify.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

using TensorMap = std::map<std::string, Tensor>;
using TextMap = std::map<std::string, std::string>;

// One tensor as the header describes it; of any rank and of every dtype that the format knows.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // "F32"
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;  // bytes, from the start of the data
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of their data
  TextMap metadata;
  std::int64_t data_start = 0;      // bytes from the start of the file
  std::int64_t trailing_bytes = 0;  // behind the last tensor; 0 unless accepted
};

struct SafetensorsFile {
  TensorMap tensors;
  TextMap metadata;
  std::int64_t trailing_bytes = 0;
};

struct SafetensorsReadOptions {
  // Other writers' files are met with a few bytes too many at the end; ours never have them.
  bool accept_trailing_bytes = false;
};

// The header alone. Throws DataError naming file and reason: header length, JSON, duplicate names,
// unknown dtype, shapes that overflow or differ from their bytes, holes, overlaps, truncation,
// trailing bytes.
SafetensorsHeader read_safetensors_header(const std::filesystem::path& path,
                                          const SafetensorsReadOptions& options = {});
// Everything. F32 F64 BF16 F16 I32 I64 U8 come as they are; BOOL becomes u8, I8 I16 U16 i32, U32
// i64. Also DataError: any other dtype, more than four dimensions.
SafetensorsFile read_safetensors(const std::filesystem::path& path,
                                 const SafetensorsReadOptions& options = {});

// Replaces the file at once or not at all (AtomicFile). The same tensors and metadata give the same
// bytes. Throws DataError when the disk refuses; Error if a tensor is undefined.
void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                       const TextMap& metadata = {});

// The bytes before the data. Sorts the entries as the reference writer does (largest dtype first,
// then by name), sets their offsets, and pads with spaces so that the data start at a multiple
// of 8.
std::string safetensors_header(std::vector<SafetensorsEntry>& entries, const TextMap& metadata);

// The dtype that a tensor of this file dtype is read as; none if it cannot be read.
std::optional<DType> dtype_of_safetensors(std::string_view dtype);

}  // namespace proxent
