// Pictures and weights that tests want but that are not ours to hand out.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

namespace proxent {

// `name` in the folder $TEST_DATA, by default ../shared/data beside the repository. Where
// it is absent the path is empty and the test says what it left out.
inline std::filesystem::path test_data(const char* name) {
  const char* folder = std::getenv("TEST_DATA");
  std::filesystem::path path = folder ? folder : PROXENT_SOURCE_DIR "/../shared/data";
  path /= name;
  if (std::filesystem::exists(path)) return path;
  MESSAGE("skipped: ", path.string(), " is absent (TEST_DATA)");
  return {};
}

}  // namespace proxent
