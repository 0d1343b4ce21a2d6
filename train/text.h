// Small text tools of the command line: numbers as people and as files want them, wrapping, and
// the nearest name to a misspelt one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxent {

// The shortest decimal text that reads back to the same double: "0.1", "1e-4", "18", "nan".
std::string shortest(double value);
// For people: about `digits` significant digits, never scientific between 1e-4 and 1e9.
std::string rounded(double value, int digits = 4);
std::string human_bytes(std::int64_t bytes);  // "512 B", "13.9 GiB"
std::string human_count(std::int64_t count);  // "11,176,512"
std::string human_seconds(double seconds);    // "0.8s", "42s", "12m05s", "1h52m", "3d04h"

std::string reason_of(int error);  // what the system calls an errno

std::string join(const std::vector<std::string>& parts, std::string_view separator);
// "a, b or c"
std::string one_of(const std::vector<std::string>& names);
// Parts between separators, spaces trimmed; an empty text has no parts.
std::vector<std::string> split(std::string_view text, char separator);

// Columns a terminal needs for UTF-8 text; colour codes need none, East Asian wide letters two.
int display_width(std::string_view text);
// The text without colour codes.
std::string without_codes(std::string_view text);
// Control characters but line feeds, tabs and colour codes as "\x1b": the name of a file must not
// command the terminal that shows it.
std::string without_controls(std::string_view text);
// Box lines, dots and arrows replaced by ASCII; any other non-ASCII letter becomes '?'.
std::string to_ascii(std::string_view text);
// At most `width` columns; "..." takes the place of what is cut off.
std::string clip(std::string_view text, int width);
// Lines of at most `width` columns, broken at spaces; line breaks in the text stay.
std::vector<std::string> wrap(std::string_view text, int width);
std::string padded(std::string_view text, int width);

// The candidate with the fewest insertions, deletions, changes and swaps of neighbours; none if
// that would change a third of the name or more. '-' and '_' count as equal.
std::optional<std::string> nearest_name(std::string_view name,
                                        const std::vector<std::string>& candidates);
// " Did you mean '...'?" or nothing.
std::string suggestion(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace proxent
