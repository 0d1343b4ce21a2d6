#include "train/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tensor/check.h"
#include "train/text.h"

namespace proxent {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// As POSIX decides the character set: the first of these that is set.
bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    std::string value = variable(name);
    if (value.empty()) continue;
    std::transform(value.begin(), value.end(), value.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return value.find("UTF-8") != std::string::npos || value.find("UTF8") != std::string::npos;
  }
  return false;
}

int columns_of(int descriptor) {
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const int columns = std::atoi(variable("COLUMNS").c_str());
  return columns > 0 ? columns : 100;
}

std::string coded(const char* code, std::string_view text) {
  return std::string("\x1b[") + code + "m" + std::string(text) + "\x1b[0m";
}

}  // namespace

std::string Terminal::fitted(std::string_view text) const {
  const std::string fit = without_controls(has_color ? std::string(text) : without_codes(text));
  return is_utf8 ? fit : to_ascii(fit);
}

Terminal terminal_on(Stream stream, std::string_view color) {
  std::FILE* const file = stream == Stream::out ? stdout : stderr;
  const int descriptor = fileno(file);
  const bool is_terminal = isatty(descriptor) && variable("TERM") != "dumb";
  Terminal terminal;
  terminal.write = [file](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), file);
    std::fflush(file);
  };
  terminal.is_live = is_terminal;
  terminal.has_color =
      color == "always" || (color == "auto" && is_terminal && variable("NO_COLOR").empty());
  terminal.is_utf8 = locale_is_utf8();
  terminal.columns = [descriptor] { return columns_of(descriptor); };
  return terminal;
}

void print_out(std::string_view text) {
  terminal_on(Stream::out).print(text);
  // EPIPE: a pager was closed, which is no failure.
  check<DataError>(!std::ferror(stdout) || errno == EPIPE,
                   "cannot write to standard output: ", std::strerror(errno));
}

std::string bold(std::string_view text) { return coded("1", text); }
std::string dim(std::string_view text) { return coded("2", text); }
std::string red(std::string_view text) { return coded("31", text); }
std::string green(std::string_view text) { return coded("32", text); }
std::string yellow(std::string_view text) { return coded("33", text); }

}  // namespace proxent
