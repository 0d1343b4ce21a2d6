// A training run small enough for a test, on pictures that the test draws itself.
#pragma once

#include <filesystem>
#include <string>

#include "data/image.h"
#include "tensor/random.h"
#include "train/config.h"

namespace proxent {

// Eight classes of six pictures: noise around a colour of the class. Four train, four test.
inline std::filesystem::path draw_pictures(const std::filesystem::path& root) {
  Philox random(0, stream_of("test pictures"));
  for (int c = 0; c < 8; ++c) {
    const std::filesystem::path folder = root / ("class" + std::to_string(c));
    std::filesystem::create_directories(folder);
    for (int i = 0; i < 6; ++i) {
      Image image(16, 16);
      for (std::size_t p = 0; p < image.pixels.size(); ++p)
        image.pixels[p] = static_cast<std::uint8_t>(((c >> (p % 3)) & 1) * 150 + random.below(100));
      write_png(folder / (std::to_string(i) + ".png"), image);
    }
  }
  return root;
}

// A run of six steps on them.
inline Config small_config(const std::filesystem::path& pictures,
                           const std::filesystem::path& out) {
  Config config;
  config.data.path = pictures.string();
  config.data.image_size = 16;
  config.data.resize = 16;
  config.data.crop = "none";
  config.data.workers = 2;
  config.batch.size = 8;
  config.model.stem = "compact";
  config.model.width = 8;
  config.model.embed_dim = 8;
  config.loss.proxies = 2;
  config.loss.weight_usage = 0.1;
  config.loss.proxy_lr_mult = 10;
  config.optim.lr = 1e-3;
  config.optim.ema = 0.9;
  config.run.out = out.string();
  config.run.steps = 6;
  config.run.protocol = "last";
  config.run.eval_every = {};
  config.log.progress = "none";
  config.log.quiet = true;
  return config;
}

}  // namespace proxent
