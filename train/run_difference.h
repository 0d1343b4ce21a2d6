// What two runs differ in, and what came of it: where a paper's number, or yesterday's, does not
// come again.
#pragma once

#include <filesystem>
#include <string>

namespace proxent {

// Tables of the settings, the data, the build and the machine in which the runs differ, each row
// with both values, and of their results with differences; lines of at most `width` columns. Of
// runs in any state. Throws DataError where a folder holds no run or a damaged one.
std::string run_difference(const std::filesystem::path& a, const std::filesystem::path& b,
                           int width);

}  // namespace proxent
