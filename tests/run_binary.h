// Runs the proxent binary as a user does, through the shell.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace proxent {

struct Outcome {
  int code = -1;
  std::string out;  // stdout, and stderr where the arguments say 2>&1
};

// "<before> proxent <arguments>"; `before` sets variables or limits.
inline Outcome run_binary(const std::string& arguments, const std::string& before = "") {
  std::FILE* pipe = popen((before + " '" PROXENT_BINARY "' " + arguments).c_str(), "r");
  REQUIRE(pipe != nullptr);
  Outcome outcome;
  std::array<char, 4096> buffer;
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe))
    outcome.out.append(buffer.data(), n);
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

// The object that the command prints with --json.
inline nlohmann::json run_json(const std::string& arguments) {
  const Outcome outcome = run_binary(arguments + " --json 2>/dev/null");
  CAPTURE(arguments);
  CAPTURE(outcome.out);
  REQUIRE(outcome.code == 0);
  return nlohmann::json::parse(outcome.out);
}

}  // namespace proxent
