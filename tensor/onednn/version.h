// Which oneDNN runs.
#pragma once

#include <string>

namespace proxent::onednn {

std::string version();  // "2.6.3", of the library that was loaded

}  // namespace proxent::onednn
