#include "data/idx.h"

#include <zlib.h>  // reads gzipped and plain files alike

#include <algorithm>
#include <memory>
#include <system_error>

#include "data/unpacked.h"
#include "tensor/check.h"

namespace proxent {
namespace {

constexpr std::int64_t kMostBytes = std::int64_t{1} << 33;

using GzipFile = std::unique_ptr<gzFile_s, int (*)(gzFile)>;

GzipFile open_gzip(const std::filesystem::path& path) {
  return GzipFile(gzopen(path.c_str(), "rb"), gzclose);
}

class GzipReader {
 public:
  explicit GzipReader(const std::filesystem::path& path) : path_(path), file_(open_gzip(path)) {
    check<DataError>(file_ != nullptr, "cannot read ", path.string());
  }
  // Exactly `size` bytes, or DataError.
  void read(std::uint8_t* out, std::size_t size) {
    while (size > 0) {
      const auto part = static_cast<unsigned>(std::min<std::size_t>(size, 1 << 30));
      const int got = unpack(out, part);
      check<DataError>(got > 0, path_.string(), ": truncated, ", size, " bytes are missing");
      out += got;
      size -= static_cast<std::size_t>(got);
    }
  }
  bool is_at_end() {
    std::uint8_t byte;
    return unpack(&byte, 1) == 0;
  }

 private:
  // At most `size` bytes; how many it was.
  int unpack(std::uint8_t* out, unsigned size) {
    const int got = gzread(file_.get(), out, size);
    int code = Z_OK;
    const std::string reason = gzerror(file_.get(), &code);
    check<DataError>(got >= 0 && code == Z_OK, path_.string(), ": cannot be unpacked (", reason,
                     ")");
    return got;
  }

  std::filesystem::path path_;
  GzipFile file_;
};

// The element type by the third byte; empty if there is none.
std::string idx_dtype(std::uint8_t code) {
  switch (code) {
    case 0x08:
      return "u8";
    case 0x09:
      return "i8";
    case 0x0b:
      return "i16";
    case 0x0c:
      return "i32";
    case 0x0d:
      return "f32";
    case 0x0e:
      return "f64";
  }
  return "";
}

}  // namespace

std::optional<IdxHeader> read_idx_header(const std::filesystem::path& path) {
  const GzipFile file = open_gzip(path);
  const auto read = [&](std::uint8_t* out, unsigned size) {
    return file && gzread(file.get(), out, size) == static_cast<int>(size);
  };
  std::uint8_t magic[4];
  if (!read(magic, 4) || magic[0] != 0 || magic[1] != 0 || magic[3] == 0) return std::nullopt;
  IdxHeader header{.dtype = idx_dtype(magic[2]), .shape = {}, .is_gzipped = !gzdirect(file.get())};
  if (header.dtype.empty()) return std::nullopt;
  for (int d = 0; d < magic[3]; ++d) {
    std::uint8_t word[4];
    if (!read(word, 4)) return std::nullopt;
    header.shape.push_back(std::int64_t{word[0]} << 24 | word[1] << 16 | word[2] << 8 | word[3]);
  }
  return header;
}

IdxArray read_idx(const std::filesystem::path& path, std::size_t rank) {
  GzipReader reader(path);
  std::uint8_t magic[4];
  reader.read(magic, 4);
  check<DataError>(magic[0] == 0 && magic[1] == 0 && magic[2] == 8 && magic[3] == rank,
                   path.string(), ": expected an IDX file of bytes with ", rank,
                   " dimensions (it begins 0 0 8 ", rank, "), got ", int{magic[0]}, " ",
                   int{magic[1]}, " ", int{magic[2]}, " ", int{magic[3]});
  std::error_code error;
  const auto file_bytes = static_cast<std::int64_t>(std::filesystem::file_size(path, error));
  check<DataError>(!error, "cannot read ", path.string(), ": ", error.message());
  const std::int64_t most = std::min(kMostBytes, most_unpacked(file_bytes));
  IdxArray idx;
  std::int64_t total = 1;
  for (std::size_t d = 0; d < rank; ++d) {
    std::uint8_t word[4];
    reader.read(word, 4);
    const std::int64_t size = std::int64_t{word[0]} << 24 | word[1] << 16 | word[2] << 8 | word[3];
    check<DataError>(size > 0 && size <= most / total, path.string(), ": size ", size,
                     " in its header is zero or asks for more than ", most,
                     " bytes, too much for a file of ", file_bytes);
    total *= size;
    idx.sizes.push_back(size);
  }
  // Grown as the data arrives: a header that promises too much costs no memory.
  constexpr std::int64_t kPiece = 1 << 16;
  for (std::int64_t at = 0; at < total; at += kPiece) {
    const auto piece = static_cast<std::size_t>(std::min(kPiece, total - at));
    idx.bytes.resize(idx.bytes.size() + piece);
    reader.read(idx.bytes.data() + at, piece);
  }
  check<DataError>(reader.is_at_end(), path.string(), ": longer than its header says");
  return idx;
}

}  // namespace proxent
