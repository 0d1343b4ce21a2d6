// PyTorch's own files of weights, .pth or .pt: what torch.save wrote of a state dict, since 1.6 as
// a zip archive and before as pickles in a row.
#pragma once

#include <filesystem>
#include <string_view>

#include "train/safetensors.h"

namespace proxent {

// Whether a file that begins with these bytes (four or more) may be one.
bool is_pth(std::string_view start);

// The tensors of the file's dictionary or, where it keeps that beside other things, of its entry
// "state_dict", "model_state_dict", "model" or "state_dict_ema"; entries that are no tensors are
// left out. Strides and shared storages are honoured. Float, Half, BFloat16, Double, Long, Int and
// Byte come as they are; Bool becomes u8, Short and Char i32.
//
// No Python is run: see train/pickle.h. Throws DataError naming file and reason, also where tensors
// would be larger than the file justifies.
TensorMap read_pth(const std::filesystem::path& path);

}  // namespace proxent
