// Where a run's messages go: the terminal, in colour and with a live last line, and log.txt, plain.
#pragma once

#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "train/terminal.h"

namespace proxent {

class Log {
 public:
  // `is_quiet`: the terminal gets warnings and results only; the file gets all.
  explicit Log(Terminal terminal, bool is_quiet = false);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // From now on lines are also appended to this file. Throws Error if it cannot be opened.
  void copy_to(const std::string& path);

  void info(std::string_view text);
  void result(std::string_view text);   // shown even when quiet
  void warning(std::string_view text);  // "warning: ..."
  // The line that stays below all others and is redrawn in place; only a live terminal shows it.
  void status(std::string_view text);
  void clear_status();

  const Terminal& terminal() const { return terminal_; }
  int width() const { return terminal_.columns(); }

 private:
  void add(std::string_view text, bool is_on_terminal);

  Terminal terminal_;
  bool is_quiet_;
  std::mutex mutex_;  // any thread may warn
  std::string status_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, std::fclose};
};

}  // namespace proxent
