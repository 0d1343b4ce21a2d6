#include "train/html.h"

#include <fmt/format.h>

namespace proxent {

std::string html_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  return escaped;
}

std::string html_table(const std::vector<std::string>& head,
                       const std::vector<std::vector<std::string>>& rows) {
  std::string html = "<table>\n";
  const auto add_row = [&](const std::vector<std::string>& cells, bool is_head) {
    html += "<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i)
      html += is_head || i == 0 ? fmt::format("<th>{}</th>", cells[i])
                                : fmt::format("<td>{}</td>", cells[i]);
    html += "</tr>\n";
  };
  if (!head.empty()) add_row(head, true);
  for (const auto& row : rows) add_row(row, false);
  return html + "</table>\n";
}

std::string html_details(std::string_view summary, std::string_view html) {
  return fmt::format("<details><summary>{}</summary>\n{}</details>\n", summary, html);
}

std::string data_url(std::string_view media_type, std::span<const std::uint8_t> bytes) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string url = fmt::format("data:{};base64,", media_type);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      url += k <= count ? digits[group >> (18 - 6 * k) & 63] : '=';
  }
  return url;
}

}  // namespace proxent
