// Scalars of a run for TensorBoard: an event file (TFRecord framing around tensorflow.Event
// messages), written without either library.
//   record   u64 length | masked CRC-32C of it | bytes | masked CRC-32C of them, little-endian
//   Event    1 wall_time (double), 2 step (int64), 3 file_version, 5 summary
//   Summary  1 value, repeated: 1 tag, 2 simple_value (float)
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxent {

struct EventScalars {
  double wall_time = 0;  // seconds since 1970
  std::int64_t step = 0;
  std::vector<std::pair<std::string, double>> values = {};  // tag, as "train/loss"; kept as float
};

class EventFile {
 public:
  // Goes on with the event file in the folder, or starts one named as TensorBoard expects
  // (events.out.tfevents.SECONDS.HOST.PROCESS.0). Throws DataError if it cannot be written.
  explicit EventFile(const std::filesystem::path& folder);

  // Written at once. Throws DataError naming the file, as for a full disk.
  void add(const EventScalars& scalars);
  // Waits until what was written would outlast a loss of power.
  void sync();
  const std::filesystem::path& path() const { return path_; }

 private:
  void write(std::string_view message);

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, std::fclose};
};

// The event file in the folder; empty if there is none.
std::filesystem::path event_file_in(const std::filesystem::path& folder);
// Cuts the folder's event file before the first record that `is_late`, or is half written or
// damaged. Nothing happens where there is no file.
void cut_events(const std::filesystem::path& folder,
                const std::function<bool(const EventScalars&)>& is_late);
// The scalars in the order of the file, up to the first record that is half written or damaged.
// Throws DataError if the file cannot be read or does not begin as an event file.
std::vector<EventScalars> read_events(const std::filesystem::path& path);

// One record around a message, and the message of scalars: what files consist of.
std::string event_record(std::string_view message);
std::string event_message(const EventScalars& scalars);
// The message that opens a file.
std::string event_file_version(double wall_time);

}  // namespace proxent
