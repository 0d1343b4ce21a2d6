// Every reader of files that others made, as a function of bytes: what fuzzing throws at them, in
// the tests (tests/damaged_files.cpp) and for hours with libFuzzer (scripts/fuzz.sh).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace proxent {

struct Reader {
  std::string_view name;   // findings are kept in tests/fuzz/findings/NAME
  std::string_view seeds;  // folder of whole files, below tests/
  // Reads the bytes to the end. A proxent::Error is an answer; anything else is a finding.
  void (*read)(std::span<const std::uint8_t> bytes);
};

std::span<const Reader> readers();

// Runs it on the bytes. True if they were accepted, false if refused with a reason.
bool reads(const Reader& reader, std::span<const std::uint8_t> bytes);

}  // namespace proxent
