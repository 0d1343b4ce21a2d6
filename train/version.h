// What this binary is made of: its version, commit, compiler and libraries.
#pragma once

#include <string>

#include "train/json.h"

namespace proxent {

std::string version_text();  // "0.1.0 (1a2b3c4)"
// {"version", "commit", "build", "compiler", "cuda", "onednn", "jpeg_decoder", ...}
Json version_json();

}  // namespace proxent
