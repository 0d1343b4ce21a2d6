#include "data/text_lines.h"

#include "data/image.h"
#include "data/parse_number.h"

namespace proxent {

TextLines::TextLines(const std::filesystem::path& file) : file_(file), bytes_(read_file(file)) {
  std::string_view text = text_in(bytes_, file);
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
  const auto value = parse_number<std::int64_t>(field);
  check<DataError>(value && *value >= 1, place(line), ": ", what,
                   " must be a number from 1 on, got ", field);
  return *value;
}

std::string_view text_in(std::span<const std::uint8_t> bytes, const std::filesystem::path& file) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  check<DataError>(text.find('\0') == std::string_view::npos, file.string(),
                   ": expected text in UTF-8, got a zero byte; if this is a list or table in "
                   "UTF-16, save it as UTF-8");
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return text;
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
