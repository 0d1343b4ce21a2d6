// What the other end of stdout or stderr can show, and text fitted to it. Text is always written
// with colours and box lines; Terminal::print takes away what cannot be shown.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace proxent {

struct Terminal {
  std::function<void(std::string_view)> write;
  bool is_live = false;  // a person watches: lines may be redrawn
  bool has_color = false;
  bool is_utf8 = false;
  std::function<int()> columns = [] { return 100; };  // asked each time: windows are resized

  std::string fitted(std::string_view text) const;
  void print(std::string_view text) const { write(fitted(text)); }
};

enum class Stream { out, error };

// Looks at the stream, NO_COLOR, TERM, COLUMNS and the locale. `color` is auto, always or never.
// Output is flushed at each write; a closed pipe is no error.
Terminal terminal_on(Stream stream, std::string_view color = "auto");

// Prints on stdout, where results that were asked for belong. Throws DataError when they cannot be
// written, unless a pager was closed.
void print_out(std::string_view text);

std::string bold(std::string_view text);
std::string dim(std::string_view text);
std::string red(std::string_view text);
std::string green(std::string_view text);
std::string yellow(std::string_view text);

}  // namespace proxent
