// The few pieces of HTML that a report is made of.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace proxent {

// Text as it may stand between tags and in attributes.
std::string html_escaped(std::string_view text);
// Rows of cells, which are HTML; the first column heads the rows, the others are right-aligned.
std::string html_table(const std::vector<std::string>& head,
                       const std::vector<std::vector<std::string>>& rows);
// <details>: `summary` is seen, `html` after a click.
std::string html_details(std::string_view summary, std::string_view html);
// The bytes in base64 (RFC 4648), as an address that holds what it names.
std::string data_url(std::string_view media_type, std::span<const std::uint8_t> bytes);

}  // namespace proxent
