#include "train/log.h"

#include <cerrno>
#include <cstring>

#include "tensor/check.h"
#include "train/text.h"

namespace proxent {
namespace {

// To column 1, and nothing right of the cursor.
constexpr std::string_view kEraseLine = "\r\x1b[K";

}  // namespace

Log::Log(Terminal terminal, bool is_quiet) : terminal_(std::move(terminal)), is_quiet_(is_quiet) {}

Log::~Log() { clear_status(); }

void Log::copy_to(const std::string& path) {
  const std::lock_guard lock(mutex_);
  file_.reset(std::fopen(path.c_str(), "a"));
  check(file_ != nullptr, "cannot write '", path, "': ", std::strerror(errno));
}

void Log::info(std::string_view text) { add(text, !is_quiet_); }
void Log::result(std::string_view text) { add(text, true); }
void Log::warning(std::string_view text) {
  add(yellow("warning:") + " " + std::string(text), true);
}

// The live line is erased, the text printed in its place and the live line drawn again below, in
// one write, so that nothing flickers.
void Log::add(std::string_view text, bool is_on_terminal) {
  const std::lock_guard lock(mutex_);
  while (text.ends_with('\n')) text.remove_suffix(1);
  if (is_on_terminal) {
    std::string out(status_.empty() ? "" : kEraseLine);
    out += terminal_.fitted(text) + "\n";
    out += status_;
    terminal_.write(out);
  }
  if (file_) {
    std::fputs((without_controls(without_codes(text)) + "\n").c_str(), file_.get());
    std::fflush(file_.get());
  }
}

void Log::status(std::string_view text) {
  if (!terminal_.is_live || is_quiet_) return;
  const std::lock_guard lock(mutex_);
  // The last column stays free: a full line would wrap, and erasing would leave its first half.
  status_ = terminal_.fitted(clip(text, terminal_.columns() - 1));
  terminal_.write(std::string(kEraseLine) + status_);
}

void Log::clear_status() {
  const std::lock_guard lock(mutex_);
  if (status_.empty()) return;
  status_.clear();
  terminal_.write(kEraseLine);
}

}  // namespace proxent
