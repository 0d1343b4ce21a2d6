// From a configuration's words to what they stand for.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "tensor/check.h"

namespace proxent {

// The value that a name stands for among a key's choices; UsageError for another name.
template <class T>
T chosen(const std::string& key, const std::string& name,
         std::initializer_list<std::pair<std::string_view, T>> choices) {
  for (const auto& [choice, value] : choices)
    if (choice == name) return value;
  fail<UsageError>(key, ": unknown value '", name, "'");
}

}  // namespace proxent
