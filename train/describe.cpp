#include "train/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "data/font_info.h"
#include "data/idx.h"
#include "data/image.h"
#include "data/mat.h"
#include "train/event_file.h"
#include "train/input_file.h"
#include "train/npy.h"
#include "train/pth.h"
#include "train/safetensors.h"
#include "train/text.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

std::string size_text(std::int64_t bytes) {
  const std::string exact = fmt::format("{} bytes", bytes);
  return bytes < 1024 ? exact : human_bytes(bytes) + " (" + exact + ")";
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

// Columns as wide as their widest cell; the last is not padded.
std::string table(const std::vector<std::array<std::string, 4>>& rows) {
  std::array<int, 4> widths{};
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row[i]));
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) text += "  " + padded(row[i], widths[i]);
    text += "  " + row.back() + "\n";
  }
  return text;
}

// "  key  value", a value of several lines below its key.
std::string metadata_text(const TextMap& metadata) {
  std::string text = metadata.empty() ? "" : "metadata:\n";
  for (const auto& [key, value] : metadata) {
    if (value.find('\n') == std::string::npos) {
      text += fmt::format("  {}: {}\n", key, value);
      continue;
    }
    text += fmt::format("  {}:\n", key);
    for (std::size_t at = 0; at < value.size();) {
      const std::size_t end = std::min(value.find('\n', at), value.size());
      text += fmt::format("    {}\n", value.substr(at, end - at));
      at = end + 1;
    }
  }
  return text;
}

std::string describe_safetensors(const fs::path& path, std::int64_t bytes) {
  const SafetensorsHeader header = read_safetensors_header(path, {.accept_trailing_bytes = true});
  const auto format = header.metadata.find("format");
  const bool is_state =
      format != header.metadata.end() && format->second.starts_with("proxent-state");
  std::int64_t elements = 0;
  std::vector<std::array<std::string, 4>> rows{{"name", "dtype", "shape", "bytes"}};
  for (const SafetensorsEntry& entry : header.entries) {
    std::int64_t numel = 1;
    for (const std::int64_t size : entry.shape) numel *= size;
    elements += numel;
    rows.push_back({entry.name, entry.dtype, shape_text(entry.shape),
                    fmt::format("{}", entry.end - entry.begin)});
  }
  std::string text =
      fmt::format("{}: {}, {}, {}, {}\n", path.string(),
                  is_state ? "training state of proxent (safetensors)" : "safetensors",
                  size_text(bytes), counted(std::ssize(header.entries), "tensor", "tensors"),
                  counted(elements, "element", "elements"));
  if (header.trailing_bytes > 0)
    text += fmt::format("warning: {} bytes follow the last tensor\n", header.trailing_bytes);
  text += metadata_text(header.metadata);
  return rows.size() > 1 ? text + "tensors:\n" + table(rows) : text;
}

std::string describe_pth(const fs::path& path, std::int64_t bytes) {
  std::int64_t elements = 0;
  std::vector<std::array<std::string, 4>> rows{{"name", "dtype", "shape", "bytes"}};
  for (const auto& [name, tensor] : read_pth(path)) {
    elements += tensor.numel();
    rows.push_back({name, detail::concat(tensor.dtype()), detail::concat(tensor.shape()),
                    fmt::format("{}", tensor.bytes())});
  }
  return fmt::format("{}: PyTorch weights, {}, {}, {}\ntensors:\n{}", path.string(),
                     size_text(bytes), counted(std::ssize(rows) - 1, "tensor", "tensors"),
                     counted(elements, "element", "elements"), table(rows));
}

std::string describe_mat(const fs::path& path, std::int64_t bytes) {
  const MatFile file = MatFile::read(path);
  std::vector<std::array<std::string, 4>> rows{{"name", "kind", "size", "fields"}};
  for (const MatArray& variable : file.variables())
    rows.push_back({variable.name, std::string(name_of(variable.kind)), shape_text(variable.sizes),
                    fmt::format("{}", fmt::join(variable.fields, ", "))});
  return fmt::format("{}: MATLAB file, {}, {}\nvariables:\n{}", path.string(), size_text(bytes),
                     counted(std::ssize(rows) - 1, "variable", "variables"), table(rows));
}

// Of each curve its points and where it ends.
std::string describe_events(const fs::path& path, std::int64_t bytes) {
  struct Curve {
    std::int64_t points = 0, step = 0;
    double value = 0;
  };
  std::map<std::string, Curve> curves;
  const std::vector<EventScalars> events = read_events(path);
  for (const EventScalars& event : events)
    for (const auto& [tag, value] : event.values)
      curves[tag] = {curves[tag].points + 1, event.step, value};
  std::vector<std::array<std::string, 4>> rows{{"curve", "points", "last step", "last value"}};
  for (const auto& [tag, curve] : curves)
    rows.push_back({tag, fmt::format("{}", curve.points), fmt::format("{}", curve.step),
                    fmt::format("{:.6g}", curve.value)});
  return fmt::format("{}: TensorBoard events, {}, {}, {}\n{}", path.string(), size_text(bytes),
                     counted(std::ssize(events), "event", "events"),
                     counted(std::ssize(curves), "curve", "curves"),
                     curves.empty() ? "" : table(rows));
}

std::string describe_npy(const fs::path& path, std::int64_t bytes) {
  const NpyHeader header = read_npy_header(path);
  return fmt::format("{}: NumPy array, {}, dtype {}, shape {}{}\n", path.string(), size_text(bytes),
                     header.descr, shape_text(header.shape),
                     header.is_fortran_order ? ", Fortran order" : "");
}

std::string describe_image(const fs::path& path, std::int64_t bytes) {
  const ImageInfo info = inspect_image(read_file(path), path.string());
  return fmt::format(
      "{}: {} picture, {}, {}x{} pixels, {}, {} bits{}\n", path.string(), name_of(info.format),
      size_text(bytes), info.width, info.height, name_of(info.kind), info.bits,
      info.orientation == 1 ? std::string()
                            : fmt::format(", EXIF orientation {}", info.orientation));
}

std::string describe_idx(const fs::path& path, std::int64_t bytes, const IdxHeader& header) {
  return fmt::format("{}: IDX array{}, {}, dtype {}, shape {}\n", path.string(),
                     header.is_gzipped ? " (gzip)" : "", size_text(bytes), header.dtype,
                     shape_text(header.shape));
}

std::string describe_font(const fs::path& path, std::int64_t bytes) {
  const FontInfo info = inspect_font(read_file(path), path.string());
  return fmt::format("{}: {}, {}, {}{}, {}\n", path.string(),
                     info.fonts == 1 ? "font" : fmt::format("{} fonts, the first", info.fonts),
                     size_text(bytes), info.family.empty() ? "" : info.family + ", ",
                     counted(info.glyphs, "glyph", "glyphs"),
                     counted(info.characters, "character", "characters"));
}

bool is_text(std::string_view start) {
  return std::none_of(start.begin(), start.end(), [](char c) {
    const auto code = static_cast<unsigned char>(c);
    return code == 127 || (code < 32 && c != '\n' && c != '\r' && c != '\t');
  });
}

std::string describe_text(const fs::path& path, std::int64_t bytes, std::string_view start) {
  constexpr int kLines = 5;
  constexpr std::size_t kWidth = 100;
  std::string text = fmt::format("{}: text, {}, begins\n", path.string(), size_text(bytes));
  std::size_t at = 0;
  for (int line = 0; line < kLines && at < start.size(); ++line) {
    const std::size_t end = std::min(start.find('\n', at), start.size());
    text += fmt::format("  {}\n", start.substr(at, std::min(end - at, kWidth)));
    at = end + 1;
  }
  return text;
}

std::string describe_unknown(const fs::path& path, std::int64_t bytes, std::string_view start) {
  const std::string title = fmt::format("{}: ", path.string());
  std::string digits;
  for (const char c : start.substr(0, 16))
    digits += fmt::format(" {:02x}", static_cast<unsigned char>(c));
  return title + "unknown type, " + size_text(bytes) + ", begins" + digits + "\n";
}

bool is_picture(std::string_view start) {
  const bool is_pnm =
      start.size() > 2 && start[0] == 'P' && start[1] >= '1' && start[1] <= '7' && start[2] <= ' ';
  return is_pnm || start.starts_with("\xff\xd8\xff") || start.starts_with("\x89PNG") ||
         start.starts_with("GIF8") || start.starts_with("BM");
}

}  // namespace

std::string describe_file(const fs::path& path) {
  std::int64_t bytes = 0;
  std::string start;
  {
    const InputFile file(path);
    bytes = file.size();
    start.resize(static_cast<std::size_t>(std::min<std::int64_t>(bytes, 4096)));
    file.read(start.data(), 0, static_cast<std::int64_t>(start.size()));
  }
  const std::string extension = path.extension().string();
  const bool is_named_safetensors = extension == ".safetensors" || extension == ".state";
  if (is_named_safetensors || (start.size() > 8 && start[8] == '{' && !is_text(start)))
    return describe_safetensors(path, bytes);
  if (start.empty()) return path.string() + ": empty file\n";
  if (is_pth(start)) return describe_pth(path, bytes);
  if (start.starts_with("\x93NUMPY")) return describe_npy(path, bytes);
  if (start.starts_with("MATLAB 5.0")) return describe_mat(path, bytes);
  if (start.substr(0, 64).find("brain.Event:") != std::string::npos)
    return describe_events(path, bytes);
  if (is_font(start) && !is_text(start)) return describe_font(path, bytes);
  if (start.starts_with("\x1f\x8b") || start.starts_with(std::string(2, '\0')))
    if (const auto header = read_idx_header(path)) return describe_idx(path, bytes, *header);
  if (is_picture(start)) return describe_image(path, bytes);
  if (is_text(start)) return describe_text(path, bytes, start);
  return describe_unknown(path, bytes, start);
}

}  // namespace proxent
