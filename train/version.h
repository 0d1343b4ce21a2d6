// What this binary is made of: its version, commit, compiler and libraries.
#pragma once

#include <string>

#include "train/json.h"

namespace proxent {

std::string version_text();                  // "0.1.0 (1a2b3c4)"
std::string cuda_version_text(int version);  // "13.0" of 13000
// {"version", "commit", "build", "compiler", "cuda", "onednn", "jpeg_decoder", ...}; cuda
// is null in a build without kernels for a GPU.
Json version_json();

}  // namespace proxent
