#include "data/text_lines.h"

#include <charconv>

#include "data/image.h"

namespace proxent {
namespace {

constexpr std::string_view kBlanks = " \t\r";

}  // namespace

TextLines::TextLines(const std::filesystem::path& file) : file_(file), bytes_(read_file(file)) {
  std::string_view text(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  for (int number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    line = line.substr(0, line.find_last_not_of(kBlanks) + 1);
    if (!line.empty()) lines_.push_back({number, line});
  }
}

std::string TextLines::place(const Line& line) const {
  return file_.string() + ":" + std::to_string(line.number);
}

std::vector<std::string_view> TextLines::fields(const Line& line, std::string_view example) const {
  std::vector<std::string_view> fields = split_at_blanks(line.text);
  check<DataError>(fields.size() == split_at_blanks(example).size(), place(line), ": expected \"",
                   example, "\", got \"", line.text, "\"");
  return fields;
}

std::int64_t TextLines::id(const Line& line, std::string_view field, std::string_view what) const {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  check<DataError>(error == std::errc() && end == field.data() + field.size() && value >= 1,
                   place(line), ": ", what, " must be a number from 1 on, got ", field);
  return value;
}

std::vector<std::string_view> split_at_blanks(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t begin = text.find_first_not_of(kBlanks);
    if (begin == std::string_view::npos) return parts;
    text.remove_prefix(begin);
    const std::size_t length = std::min(text.find_first_of(kBlanks), text.size());
    parts.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
}

}  // namespace proxent
