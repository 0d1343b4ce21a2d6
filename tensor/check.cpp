#include "tensor/check.h"

#include <vector>

namespace proxent {
namespace {
thread_local Scope* innermost = nullptr;
}

#ifdef PROXENT_CUDA
namespace detail {  // tensor/cuda/profiler.cpp
void open_profiler_range(std::string_view name);
void close_profiler_range();
}  // namespace detail
#else
namespace detail {
inline void open_profiler_range(std::string_view) {}
inline void close_profiler_range() {}
}  // namespace detail
#endif

Scope::Scope(std::string_view name) : name_(name), parent_(innermost) {
  innermost = this;
  if (!name_.empty()) detail::open_profiler_range(name_);
}
Scope::~Scope() {
  innermost = parent_;
  if (!name_.empty()) detail::close_profiler_range();
}

std::string Scope::trail() {
  std::vector<std::string_view> names;
  for (const Scope* scope = innermost; scope; scope = scope->parent_)
    if (!scope->name_.empty()) names.push_back(scope->name_);
  std::string text;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!text.empty()) text += " > ";
    text += *name;
  }
  return text;
}

std::string detail::origin(const std::source_location& where) {
  const std::string trail = Scope::trail();
  return (trail.empty() ? "" : "\n  in " + trail) +
         concat("\n  at ", where.file_name(), ":", where.line());
}

}  // namespace proxent
