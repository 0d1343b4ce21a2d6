// NumPy's .npy files (numpy/lib/format.py): one array behind a Python dictionary as text.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

struct NpyHeader {
  std::string descr;  // "<f4"
  bool is_fortran_order = false;
  std::vector<std::int64_t> shape;
  std::int64_t data_start = 0;  // bytes
};

// The header alone, of versions 1, 2 and 3. Throws DataError naming file and reason.
NpyHeader read_npy_header(const std::filesystem::path& path);

// An array of up to four dimensions. f4 f8 i4 i8 u1 (little-endian) come as they are, f2 becomes
// f4 and b1 u8; arrays in Fortran order are turned. Throws DataError naming file and reason: not
// .npy, another dtype, a size that differs from the shape.
Tensor read_npy(const std::filesystem::path& path);

// Version 1.0, as np.save writes it: f32 f64 i32 i64 u8, data at a multiple of 64 bytes. Replaces
// the file at once or not at all. Throws DataError when the disk refuses, Error for
// bf16 and f16.
void write_npy(const std::filesystem::path& path, const Tensor& array);

}  // namespace proxent
