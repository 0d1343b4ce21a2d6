#include "train/checksum.h"

#include <fmt/format.h>
#include <zlib.h>

namespace proxent {
namespace {

constexpr const char* kKey = "crc32";

std::string checksum(const TensorMap& tensors, const TextMap& texts) {
  std::uint32_t crc = 0;
  const auto add = [&](const void* data, std::int64_t bytes) { crc = crc32_of(data, bytes, crc); };
  const auto add_text = [&](const std::string& text) { add(text.c_str(), std::ssize(text) + 1); };
  for (const auto& [key, text] : texts) {
    if (key == "format") continue;
    add_text(key);
    add_text(text);
  }
  for (const auto& [name, tensor] : tensors) {
    add_text(name);
    const Tensor here = tensor.to(Device::cpu);
    if (here.bytes() > 0) add(here.raw(), here.bytes());
  }
  return fmt::format("{:08x}", crc);
}

}  // namespace

std::uint32_t crc32_of(const void* data, std::int64_t bytes, std::uint32_t before) {
  return static_cast<std::uint32_t>(
      crc32_z(before, static_cast<const Bytef*>(data), static_cast<z_size_t>(bytes)));
}

void write_with_checksum(const std::filesystem::path& path, const TensorMap& tensors,
                         TextMap metadata) {
  metadata[kKey] = checksum(tensors, metadata);
  write_safetensors(path, tensors, metadata);
}

bool take_checksum(SafetensorsFile& file, const std::string& origin) {
  const auto stored = file.metadata.extract(kKey);
  if (stored.empty()) return false;
  const std::string found = checksum(file.tensors, file.metadata);
  check<DataError>(found == stored.mapped(), origin, ": damaged, its checksum should be ",
                   stored.mapped(), " and is ", found);
  return true;
}

}  // namespace proxent
