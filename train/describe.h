// What `proxent inspect` prints: the header of any file that proxent reads or writes.
#pragma once

#include <filesystem>
#include <string>

namespace proxent {

// A few lines, or a table for files with many tensors; ends with a newline. The type is found by
// the file's first bytes: safetensors (weights and training states), PyTorch's .pth, .npy, JPEG PNG
// GIF BMP PNM pictures, IDX (gzipped or not), MATLAB's .mat, TensorBoard's event files, text. Of
// any other file the size and the first bytes are told. Throws DataError if the file cannot be read
// or is malformed.
std::string describe_file(const std::filesystem::path& path);

}  // namespace proxent
