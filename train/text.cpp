#include "train/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <system_error>

#include "data/utf8.h"

namespace proxent {
namespace {

// The code point at i; a byte that begins none stands for itself.
CodePoint letter_at(std::string_view text, std::size_t i) {
  return code_point_at(text, i).value_or(CodePoint{static_cast<unsigned char>(text[i]), 1});
}

// Length of the colour code that begins at i, 0 if none does.
std::size_t code_length(std::string_view text, std::size_t i) {
  if (text[i] != '\x1b' || i + 1 >= text.size() || text[i + 1] != '[') return 0;
  const std::size_t end = text.find_first_not_of("0123456789;", i + 2);
  return end < text.size() && text[end] == 'm' ? end + 1 - i : 0;
}

// Of ASCII and, as U+0080 to U+009F, of ISO 6429, where terminals take commands from too.
bool is_control(char32_t c) {
  return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
}

// Combining marks take no column, East Asian wide and emoji take two.
int columns(char32_t c) {
  if ((c >= 0x300 && c <= 0x36F) || c == 0x200B || c == 0x200D || (c >= 0xFE00 && c <= 0xFE0F))
    return 0;
  const bool is_wide = (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) ||
                       (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF900 && c <= 0xFAFF) ||
                       (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                       (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1FAFF);
  return is_wide ? 2 : 1;
}

char ascii_for(char32_t c) {
  switch (c) {
    case U'│':
    case U'┃':
    case U'▕':
    case U'▏':
      return '|';
    case U'─':
    case U'━':
    case U'–':
    case U'—':
      return '-';
    case U'█':
    case U'▉':
    case U'▊':
    case U'▋':
      return '#';
    case U'▌':
    case U'▍':
    case U'▎':
      return '=';
    case U'▲':
    case U'↑':
      return '^';
    case U'▼':
    case U'↓':
      return 'v';
    case U'→':
      return '>';
    case U'×':
      return 'x';
    case U'·':
      return '.';
    case U'…':
      return '~';
    case U'✓':
      return '+';
    case U'✗':
      return 'X';
    case U'±':
      return '~';
    case U'µ':
      return 'u';
    default:
      return c >= 0x2500 && c <= 0x257F ? '+' : '?';
  }
}

char folded(char c) {
  return c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

// Optimal string alignment distance.
int edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<int>> d(a.size() + 1, std::vector<int>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = static_cast<int>(i);
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool is_same = folded(a[i - 1]) == folded(b[j - 1]);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + !is_same});
      const bool is_swap = i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
                           folded(a[i - 2]) == folded(b[j - 1]);
      if (is_swap) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

}  // namespace

std::string shortest(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  if (const auto e = text.find('e'); e != std::string::npos) {  // "1e-05" -> "1e-5"
    auto digits = e + 1 + (text[e + 1] == '-' || text[e + 1] == '+');
    while (text[digits] == '0' && digits + 1 < text.size()) text.erase(digits, 1);
    if (text[e + 1] == '+') text.erase(e + 1, 1);
  }
  return text;
}

std::string rounded(double value, int digits) {
  const double size = std::abs(value);
  if (!std::isfinite(value) || value == 0) return shortest(value);
  if (size < 1e-3 || size >= 1e9)
    return shortest(std::stod(fmt::format("{:.{}e}", value, digits - 1)));
  const int leading = static_cast<int>(std::floor(std::log10(size)));  // place of the first digit
  return fmt::format("{:.{}f}", value, std::max(0, digits - 1 - leading));
}

std::string human_bytes(std::int64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (std::abs(amount) >= 1024 && unit + 1 < std::size(units)) {
    amount /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", amount, unit == 0 || amount >= 100 ? 0 : 1, units[unit]);
}

std::string human_count(std::int64_t count) {
  std::string text = std::to_string(count);
  const std::ptrdiff_t first = count < 0 ? 1 : 0;
  for (auto i = static_cast<std::ptrdiff_t>(text.size()) - 3; i > first; i -= 3)
    text.insert(static_cast<std::size_t>(i), ",");
  return text;
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "-";
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const auto whole = std::llround(seconds);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  const auto minutes = whole / 60;
  if (minutes < 1440) return fmt::format("{}h{:02}m", minutes / 60, minutes % 60);
  const auto hours = minutes / 60;
  return fmt::format("{}d{:02}h", hours / 24, hours % 24);
}

std::string reason_of(int error) { return std::generic_category().message(error); }

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

std::string one_of(const std::vector<std::string>& names) {
  if (names.size() < 2) return join(names, "");
  return join({names.begin(), names.end() - 1}, ", ") + " or " + names.back();
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    std::string_view part = text.substr(0, end);
    const auto first = std::min(part.find_first_not_of(" \t"), part.size());
    part = part.substr(first, part.find_last_not_of(" \t") + 1 - std::min(first, part.size()));
    parts.emplace_back(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

int display_width(std::string_view text) {
  int width = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (const auto code = code_length(text, i)) {
      i += code;
      continue;
    }
    const CodePoint c = letter_at(text, i);
    width += columns(c.value);
    i += c.length;
  }
  return width;
}

std::string without_codes(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size();) {
    if (const auto code = code_length(text, i))
      i += code;
    else
      plain += text[i++];
  }
  return plain;
}

std::string without_controls(std::string_view text) {
  std::string shown;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t code = code_length(text, i);
    const CodePoint c = letter_at(text, i);
    if (code == 0 && is_control(c.value))
      shown += fmt::format("\\x{:02x}", static_cast<unsigned>(c.value));
    else
      shown += text.substr(i, std::max(code, c.length));
    i += std::max(code, c.length);
  }
  return shown;
}

std::string to_ascii(std::string_view text) {
  std::string ascii;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = letter_at(text, i);
    ascii += c.value < 0x80 ? static_cast<char>(c.value) : ascii_for(c.value);
    i += c.length;
  }
  return ascii;
}

std::string clip(std::string_view text, int width) {
  if (display_width(text) <= width) return std::string(text);
  const int room = std::max(0, width - 3);
  std::string cut;
  bool has_code = false;
  int used = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (const auto code = code_length(text, i)) {
      cut += text.substr(i, code);
      has_code = true;
      i += code;
      continue;
    }
    const CodePoint c = letter_at(text, i);
    if (used + columns(c.value) > room) break;
    used += columns(c.value);
    cut += text.substr(i, c.length);
    i += c.length;
  }
  cut += std::string("...").substr(0, static_cast<std::size_t>(std::clamp(width, 0, 3)));
  return has_code ? cut + "\x1b[0m" : cut;
}

std::vector<std::string> wrap(std::string_view text, int width) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    std::string line;
    for (const std::string& word : split(text.substr(begin, end - begin), ' ')) {
      if (!line.empty() && display_width(line) + 1 + display_width(word) > width) {
        lines.push_back(line);
        line.clear();
      }
      if (!word.empty()) line += (line.empty() ? "" : " ") + word;
    }
    lines.push_back(line);
    begin = end + 1;
  }
  return lines;
}

std::string padded(std::string_view text, int width) {
  return std::string(text) +
         std::string(static_cast<std::size_t>(std::max(0, width - display_width(text))), ' ');
}

std::optional<std::string> nearest_name(std::string_view name,
                                        const std::vector<std::string>& candidates) {
  const int limit = name.size() < 2 ? 0 : std::max(1, static_cast<int>(name.size()) / 3);
  std::optional<std::string> best;
  int best_distance = limit + 1;
  for (const std::string& candidate : candidates) {
    const int distance = edit_distance(name, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string suggestion(std::string_view name, const std::vector<std::string>& candidates) {
  const auto nearest = nearest_name(name, candidates);
  return nearest ? " Did you mean '" + *nearest + "'?" : "";
}

}  // namespace proxent
