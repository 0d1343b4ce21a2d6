// The checksum of TensorBoard's event files.
#pragma once

#include <cstdint>
#include <string_view>

namespace proxent {

// CRC-32C (Castagnoli), reflected: "123456789" gives 0xe3069283.
std::uint32_t crc32c(std::string_view bytes);

}  // namespace proxent
