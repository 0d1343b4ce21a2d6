// A terminal for tests.
#pragma once

#include <string>
#include <string_view>

#include "train/terminal.h"

namespace proxent {

// Keeps what is written to it; 60 columns wide.
inline Terminal recorder(std::string& out, bool is_live, bool is_utf8 = true) {
  Terminal terminal;
  terminal.write = [&out](std::string_view text) { out += text; };
  terminal.is_live = is_live;
  terminal.is_utf8 = is_utf8;
  terminal.columns = [] { return 60; };
  return terminal;
}

}  // namespace proxent
