// Errors and where they happened: check(), fail(), and Scope, the trail of module and op names that
// every error, allocation and profiler range is labelled with.
#pragma once

#include <cstdint>
#include <source_location>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace proxent {

// Anything a caller can cause. what() is "<message>\n  in <trail>\n  at <file>:<line>".
class Error : public std::runtime_error {
 public:
  Error(const std::string& message, const std::string& origin)
      : std::runtime_error(message + origin), message_(message) {}
  // The first part alone: what was expected and what came.
  const std::string& message() const { return message_; }

 private:
  std::string message_;
};
// The command line or a configuration is wrong (exit code 2).
struct UsageError : Error {
  using Error::Error;
};
// A picture, list, data set or weight file is wrong (exit code 3).
struct DataError : Error {
  using Error::Error;
};
// A loss, gradient or activation is NaN or infinite (exit code 6).
struct NonFiniteError : Error {
  using Error::Error;
};

// A named range of the running program; scopes nest per thread. `name` must outlive the Scope. In
// builds with CUDA it is an NVTX range too.
class Scope {
 public:
  explicit Scope(std::string_view name);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  // The open scopes of this thread from the outside in, "resnet > layer1 > conv1"; empty if none.
  static std::string trail();

 private:
  std::string_view name_;
  Scope* parent_;
};

namespace detail {
std::string origin(const std::source_location& where);

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream text;
  ((text << parts), ...);
  return text.str();
}

// Carries the place of the call beside the first argument, which a variadic function cannot
// default.
struct Condition {
  Condition(bool is_met, std::source_location where = std::source_location::current())
      : is_met(is_met), where(where) {}
  bool is_met;
  std::source_location where;
};
struct FirstPart {
  template <class Part>
  FirstPart(const Part& part, std::source_location where = std::source_location::current())
      : text(concat(part)), where(where) {}
  std::string text;
  std::source_location where;
};
}  // namespace detail

// Throws E with the parts written one after the other, unless the condition holds. The parts are
// only formatted on failure.
template <class E = Error, class... Parts>
void check(detail::Condition condition, const Parts&... parts) {
  if (!condition.is_met) [[unlikely]]
    throw E(detail::concat(parts...), detail::origin(condition.where));
}

// "1 class", "2 classes": a count for a message.
inline std::string counted(std::int64_t count, std::string_view one, std::string_view many) {
  return detail::concat(count, " ", count == 1 ? one : many);
}

template <class E = Error, class... Parts>
[[noreturn]] void fail(const detail::FirstPart& first, const Parts&... rest) {
  throw E(first.text + detail::concat(rest...), detail::origin(first.where));
}

}  // namespace proxent
