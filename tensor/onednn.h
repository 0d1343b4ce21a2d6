// Which code computes float32 on the CPU: oneDNN where this build has it, or the reference loops.
#pragma once

#include <string>

namespace proxent {

// True if this build found oneDNN.
bool has_onednn();
// "2.6.3"; empty in a build without it.
std::string onednn_version();
// True if float32 goes through oneDNN now: the build has it and nobody switched it off.
bool uses_onednn();
// Off: every op takes its reference loops. On (the default) has no effect in a build without
// oneDNN. For tests and for finding out which side is wrong.
void set_onednn_enabled(bool is_enabled);

}  // namespace proxent
