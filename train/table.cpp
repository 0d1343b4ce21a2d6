#include "train/table.h"

#include <algorithm>

#include "train/terminal.h"
#include "train/text.h"

namespace proxent {
namespace {

std::string repeated(std::string_view part, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += part;
  return text;
}

std::string aligned(const std::string& cell, int width, bool is_right) {
  const std::string space(static_cast<std::size_t>(std::max(0, width - display_width(cell))), ' ');
  return is_right ? space + cell : cell + space;
}

}  // namespace

Table& Table::head(std::vector<std::string> cells) {
  head_ = std::move(cells);
  return *this;
}

Table& Table::row(std::vector<std::string> cells) {
  rows_.push_back(std::move(cells));
  return *this;
}

Table& Table::line() {
  rows_.emplace_back();
  return *this;
}

Table& Table::align_right(std::size_t column) {
  right_.push_back(column);
  return *this;
}

// As wide as the widest cell; the last column gives way when the sum exceeds the width.
std::vector<int> Table::column_widths(int width) const {
  std::vector<int> widths;
  const auto widen = [&](const std::vector<std::string>& cells) {
    widths.resize(std::max(widths.size(), cells.size()));
    for (std::size_t i = 0; i < cells.size(); ++i)
      widths[i] = std::max(widths[i], display_width(cells[i]));
  };
  widen(head_);
  for (const auto& row : rows_) widen(row);
  if (widths.empty()) return {display_width(title_)};
  int total = 2;  // the box, then two columns of space per cell
  for (const int w : widths) total += w + 2;
  widths.back() += std::max(0, display_width(title_) + 4 - total);
  if (total > width) widths.back() = std::max(8, widths.back() - (total - width));
  return widths;
}

std::vector<std::string> Table::lines(int width) const {
  const std::vector<int> widths = column_widths(width);
  int inside = 0;
  for (const int w : widths) inside += w + 2;
  const auto rule = [&](const char* left, const char* right) {
    return dim(left + repeated("─", inside) + right);
  };
  const auto boxed = [&](const std::string& content) { return dim("│") + content + dim("│"); };
  const auto is_right = [&](std::size_t column) {
    return std::find(right_.begin(), right_.end(), column) != right_.end();
  };
  const auto add_row = [&](std::vector<std::string>& out, std::vector<std::string> cells,
                           bool is_head) {
    cells.resize(widths.size());
    const auto last_lines = wrap(cells.back(), widths.back());
    for (std::size_t k = 0; k < last_lines.size(); ++k) {
      cells.back() = clip(last_lines[k], widths.back());
      std::string content;
      for (std::size_t i = 0; i < cells.size(); ++i) {
        const std::string cell = aligned(clip(cells[i], widths[i]), widths[i], is_right(i));
        content += " " + (is_head ? bold(cell) : cell) + " ";
      }
      out.push_back(boxed(content));
      for (std::size_t i = 0; i + 1 < cells.size(); ++i) cells[i].clear();
    }
  };

  std::vector<std::string> out;
  const int title_width = title_.empty() ? 0 : display_width(title_) + 2;
  out.push_back(dim("┌") + (title_.empty() ? "" : " " + bold(title_) + " ") +
                dim(repeated("─", inside - title_width) + "┐"));
  if (!head_.empty()) {
    add_row(out, head_, true);
    out.push_back(rule("├", "┤"));
  }
  for (const auto& row : rows_) {
    if (row.empty())
      out.push_back(rule("├", "┤"));
    else
      add_row(out, row, false);
  }
  out.push_back(rule("└", "┘"));
  return out;
}

std::string Table::text(int width) const { return join(lines(width), "\n") + "\n"; }

std::string Table::beside(const std::vector<Table>& tables, int width) {
  std::vector<std::vector<std::string>> row;  // tables of the present row, as lines
  int used = 0;
  std::string text;
  const auto flush = [&] {
    std::size_t height = 0;
    for (const auto& block : row) height = std::max(height, block.size());
    for (std::size_t i = 0; i < height; ++i) {
      std::string line;
      for (const auto& block : row) {
        const int block_width = display_width(block[0]);
        line += (line.empty() ? "" : " ") + padded(i < block.size() ? block[i] : "", block_width);
      }
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    row.clear();
    used = 0;
  };
  for (const Table& table : tables) {
    auto lines = table.lines(width);
    const int needed = display_width(lines[0]);
    if (!row.empty() && used + 1 + needed > width) flush();
    used += needed + (row.empty() ? 0 : 1);
    row.push_back(std::move(lines));
  }
  flush();
  return text;
}

}  // namespace proxent
