#include "train/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "tensor/check.h"
#include "train/atomic_file.h"
#include "train/clock.h"
#include "train/crc32c.h"
#include "train/input_file.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVersion = "brain.Event:2";
constexpr std::size_t kFraming = 16;  // bytes of a record beside its message

// So that a checksum of bytes that hold checksums is no weak one (TFRecord's rule).
std::uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

template <class T>
std::string little_endian(T value) {
  static_assert(std::endian::native == std::endian::little);
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

// The wire format of protocol buffers: a key of field number and kind, then the content.
enum Kind : std::uint32_t { kVarint = 0, kEightBytes = 1, kDelimited = 2, kFourBytes = 5 };

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += static_cast<char>(value | 128);
  return bytes + static_cast<char>(value);
}
std::string key(std::uint32_t field, Kind kind) { return varint(field << 3 | kind); }
std::string delimited(std::uint32_t field, std::string_view content) {
  return key(field, kDelimited) + varint(content.size()) + std::string(content);
}

// Fields of a message, one by one; it ends at the first that is not well formed.
class Fields {
 public:
  explicit Fields(std::string_view message) : left_(message) {}

  struct Field {
    std::uint64_t number = 0;
    std::uint64_t value = 0;  // of a varint, or the bits of a float or double
    std::string_view content = {};
  };
  std::optional<Field> next() {
    const auto key = read_varint();
    if (!key) return std::nullopt;
    Field field{.number = *key >> 3};
    switch (*key & 7) {
      case kVarint: {
        const auto value = read_varint();
        if (!value) return std::nullopt;
        field.value = *value;
        return field;
      }
      case kEightBytes:
        if (left_.size() < 8) return std::nullopt;
        field.value = number_at<std::uint64_t>(take(8), 0);
        return field;
      case kFourBytes:
        if (left_.size() < 4) return std::nullopt;
        field.value = number_at<std::uint32_t>(take(4), 0);
        return field;
      case kDelimited: {
        const auto size = read_varint();
        if (!size || *size > left_.size()) return std::nullopt;
        field.content = take(static_cast<std::size_t>(*size));
        return field;
      }
      default:
        return std::nullopt;
    }
  }

 private:
  std::string_view take(std::size_t bytes) {
    const std::string_view taken = left_.substr(0, bytes);
    left_.remove_prefix(bytes);
    return taken;
  }
  std::optional<std::uint64_t> read_varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !left_.empty(); shift += 7) {
      const auto byte = static_cast<std::uint8_t>(take(1)[0]);
      value |= std::uint64_t{byte & 127u} << shift;
      if (byte < 128) return value;
    }
    return std::nullopt;
  }

  std::string_view left_;
};

EventScalars parsed(std::string_view message) {
  EventScalars scalars;
  Fields event(message);
  while (const auto field = event.next()) {
    if (field->number == 1) scalars.wall_time = std::bit_cast<double>(field->value);
    if (field->number == 2) scalars.step = static_cast<std::int64_t>(field->value);
    if (field->number != 5) continue;
    Fields summary(field->content);
    while (const auto value = summary.next()) {
      std::pair<std::string, double> scalar;
      Fields parts(value->content);
      while (const auto part = parts.next()) {
        if (part->number == 1) scalar.first = part->content;
        if (part->number == 2)
          scalar.second = std::bit_cast<float>(static_cast<std::uint32_t>(part->value));
      }
      scalars.values.push_back(std::move(scalar));
    }
  }
  return scalars;
}

// The message of the record at `at`; nothing if the record is half written or damaged.
std::optional<std::string_view> message_at(std::string_view bytes, std::size_t at) {
  if (bytes.size() - at < kFraming) return std::nullopt;
  const auto length = number_at<std::uint64_t>(bytes, at);
  if (length > bytes.size() - at - kFraming) return std::nullopt;
  const std::string_view message = bytes.substr(at + 12, static_cast<std::size_t>(length));
  if (number_at<std::uint32_t>(bytes, at + 8) != masked_crc(bytes.substr(at, 8)) ||
      number_at<std::uint32_t>(bytes, at + 12 + message.size()) != masked_crc(message))
    return std::nullopt;
  return message;
}

std::string bytes_of(const fs::path& path) {
  const InputFile file(path);
  return file.text({0, file.size()});
}

fs::path new_name_in(const fs::path& folder) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return folder / fmt::format("events.out.tfevents.{:010}.{}.{}.0",
                              static_cast<std::int64_t>(seconds_since_1970()), host.data(),
                              ::getpid());
}

}  // namespace

EventFile::EventFile(const fs::path& folder) : path_(event_file_in(folder)) {
  const bool is_new = path_.empty() || fs::file_size(path_) == 0;
  if (path_.empty()) {
    std::error_code ignored;  // opening the file tells
    fs::create_directories(folder, ignored);
    path_ = new_name_in(folder);
  }
  file_.reset(std::fopen(path_.c_str(), "ab"));
  check<DataError>(file_ != nullptr, "cannot write '", path_.string(), "': ", std::strerror(errno));
  if (is_new) write(event_file_version(seconds_since_1970()));
}

void EventFile::add(const EventScalars& scalars) { write(event_message(scalars)); }

void EventFile::write(std::string_view message) {
  const std::string record = event_record(message);
  const bool is_written =
      std::fwrite(record.data(), 1, record.size(), file_.get()) == record.size() &&
      std::fflush(file_.get()) == 0;
  check<DataError>(is_written, "cannot write '", path_.string(), "': ", std::strerror(errno),
                   "; the run can go on from its last checkpoint by --resume");
}

void EventFile::sync() {
  const bool is_written = ::fsync(::fileno(file_.get())) == 0 || errno == EINVAL;
  check<DataError>(is_written, "cannot write '", path_.string(), "': ", std::strerror(errno));
}

fs::path event_file_in(const fs::path& folder) {
  fs::path newest;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.path().filename().string().find("tfevents") != std::string::npos)
      newest = std::max(newest, entry.path());
  return newest;
}

void cut_events(const fs::path& folder, const std::function<bool(const EventScalars&)>& is_late) {
  const fs::path path = event_file_in(folder);
  if (path.empty()) return;
  const std::string bytes = bytes_of(path);
  std::size_t end = 0;
  while (const auto message = message_at(bytes, end)) {
    if (is_late(parsed(*message))) break;
    end += kFraming + message->size();
  }
  if (end < bytes.size()) write_file_atomically(path, std::string_view(bytes).substr(0, end));
}

std::vector<EventScalars> read_events(const fs::path& path) {
  const std::string bytes = bytes_of(path);
  const auto first = message_at(bytes, 0);
  check<DataError>(first && first->find(kVersion) != std::string_view::npos, path.string(),
                   ": not an event file of TensorBoard");
  std::vector<EventScalars> events;
  std::size_t at = kFraming + first->size();
  while (const auto message = message_at(bytes, at)) {
    events.push_back(parsed(*message));
    at += kFraming + message->size();
  }
  return events;
}

std::string event_record(std::string_view message) {
  const std::string length = little_endian(std::uint64_t{message.size()});
  return length + little_endian(masked_crc(length)) + std::string(message) +
         little_endian(masked_crc(message));
}

std::string event_message(const EventScalars& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars.values)
    summary += delimited(
        1, delimited(1, tag) + key(2, kFourBytes) + little_endian(static_cast<float>(value)));
  return key(1, kEightBytes) + little_endian(scalars.wall_time) + key(2, kVarint) +
         varint(static_cast<std::uint64_t>(scalars.step)) + delimited(5, summary);
}

std::string event_file_version(double wall_time) {
  return key(1, kEightBytes) + little_endian(wall_time) + delimited(3, kVersion);
}

}  // namespace proxent
