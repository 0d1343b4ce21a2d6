// JPEG through libjpeg's API (libjpeg-turbo), set up as Pillow sets it up.
#ifdef PROXENT_TURBOJPEG

#include <csetjmp>
#include <cstdio>  // jpeglib.h needs FILE
#include <vector>

#include "data/decode.h"
extern "C" {
#include <jerror.h>
#include <jpeglib.h>
}

namespace proxent::detail {
namespace {

// libjpeg reports by callbacks that must not return; they jump to the innermost run().
class JpegReader {
 public:
  explicit JpegReader(std::string_view name) : name_(name) {
    state_.err = jpeg_std_error(&errors_);
    state_.client_data = this;
    errors_.error_exit = [](j_common_ptr state) {
      JpegReader& self = of(state);
      self.errors_.format_message(state, self.text_);
      std::longjmp(self.jump_, 1);
    };
    errors_.emit_message = [](j_common_ptr state, int level) {
      // Pillow lets other warnings pass as well: the picture is complete, though some data is odd.
      if (level < 0 && of(state).errors_.msg_code == JWRN_JPEG_EOF)
        of(state).has_ended_early_ = true;
    };
    errors_.output_message = [](j_common_ptr) {};
    progress_.progress_monitor = [](j_common_ptr state) {
      if (reinterpret_cast<j_decompress_ptr>(state)->input_scan_number <= kMaxJpegScans) return;
      JpegReader& self = of(state);
      std::snprintf(self.text_, sizeof self.text_, "%s", too_many_scans().c_str());
      std::longjmp(self.jump_, 1);
    };
    run([this] { jpeg_create_decompress(&state_); });
    state_.progress = &progress_;
  }
  ~JpegReader() { jpeg_destroy_decompress(&state_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Calls f, which must own nothing that needs a destructor: an error jumps out of it.
  template <class F>
  void run(F f) {
    if (setjmp(jump_) == 0)
      f();
    else
      fail<DataError>("picture ", name_, ": broken JPEG (", text_, ")");
  }

  jpeg_decompress_struct& state() { return state_; }
  // The data ended before the picture was complete; libjpeg went on with gray.
  bool has_ended_early() const { return has_ended_early_; }

 private:
  static JpegReader& of(j_common_ptr state) {
    return *static_cast<JpegReader*>(state->client_data);
  }

  std::string_view name_;
  jpeg_decompress_struct state_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_{};
  char text_[JMSG_LENGTH_MAX] = {};
  bool has_ended_early_ = false;
};

// Adobe writes CMYK inverted, so a file's byte c means ink 255 - c; Pillow's rounding of ink to
// light.
void cmyk_row_to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb, std::int64_t width) {
  for (std::int64_t x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int light = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[c]) * light + 128;
      rgb[c] = static_cast<std::uint8_t>(light - ((product + (product >> 8)) >> 8));
    }
  }
}

void choose_output(jpeg_decompress_struct& state, std::string_view name) {
  const J_COLOR_SPACE space = state.jpeg_color_space;
  const bool is_cmyk = space == JCS_CMYK || space == JCS_YCCK;
  check<DataError>(is_cmyk || space == JCS_GRAYSCALE || space == JCS_YCbCr || space == JCS_RGB,
                   "picture ", name, ": JPEG with ", state.num_components,
                   " channels of unknown meaning");
  state.out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
  state.dct_method = JDCT_ISLOW;
  state.do_fancy_upsampling = TRUE;
}

}  // namespace

Image decode_with_libjpeg(std::span<const std::uint8_t> bytes, const ImageInfo& info,
                          std::string_view name) {
  JpegReader reader(name);
  jpeg_decompress_struct& state = reader.state();
  reader.run([&] {
    jpeg_mem_src(&state, bytes.data(), bytes.size());
    jpeg_read_header(&state, TRUE);
  });
  // The limit of pixels was checked on what our own parser found.
  check<DataError>(state.image_width == info.width && state.image_height == info.height, "picture ",
                   name, ": broken JPEG, it has two headers of different sizes");
  choose_output(state, name);
  reader.run([&] { jpeg_start_decompress(&state); });

  Image image(state.output_height, state.output_width);
  const bool is_cmyk = state.out_color_space == JCS_CMYK;
  std::vector<std::uint8_t> ink(is_cmyk ? image.width * 4 : 0);
  reader.run([&] {
    while (state.output_scanline < state.output_height) {
      std::uint8_t* out = image.pixel(state.output_scanline, 0);
      std::uint8_t* row = is_cmyk ? ink.data() : out;
      jpeg_read_scanlines(&state, &row, 1);
      if (is_cmyk) cmyk_row_to_rgb(row, out, image.width);
    }
  });
  // Ubuntu's libjpeg says nothing where whole scans of a progressive file are missing.
  check<DataError>(!reader.has_ended_early() && has_jpeg_end(bytes), "picture ", name,
                   ": truncated JPEG, the data ends before the picture is complete");
  return image;
}

#define PROXENT_TEXT_OF(macro) PROXENT_QUOTED(macro)
#define PROXENT_QUOTED(text) #text
std::string libjpeg_name() {
#ifdef LIBJPEG_TURBO_VERSION
  return "libjpeg-turbo " PROXENT_TEXT_OF(LIBJPEG_TURBO_VERSION) " (ISLOW, fancy upsampling)";
#else
  return "libjpeg " PROXENT_TEXT_OF(JPEG_LIB_VERSION) " (ISLOW, fancy upsampling)";
#endif
}

}  // namespace proxent::detail
#endif
