// Embedding a data set, the pixel floor, and the picture of retrievals.
#include "train/embed.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "tensor/random.h"
#include "tests/devices.h"
#include "tests/temp_folder.h"
#include "train/retrieval_grid.h"

#ifdef PROXENT_CUDA_EMULATED
#include "tests/cuda_emulator/emulator.h"
#endif

namespace proxent {
namespace {

// Gray pictures of 4x4, one per value, of that value throughout but for a dot whose place tells the
// class.
Dataset gray_set(const std::vector<int>& values, const std::vector<std::int32_t>& labels) {
  Dataset dataset;
  dataset.name = "gray";
  auto stored = std::make_shared<StoredPictures>(StoredPictures{4, 4, {}});
  for (std::size_t i = 0; i < values.size(); ++i) {
    Sample sample;
    sample.path = "gray" + std::to_string(i);
    sample.stored = static_cast<std::int64_t>(i);
    sample.label = labels[i];
    dataset.samples.push_back(sample);
    for (int p = 0; p < 16; ++p)
      stored->pixels.push_back(static_cast<std::uint8_t>(p == labels[i] ? 255 : values[i]));
  }
  dataset.class_names.resize(1 + *std::max_element(labels.begin(), labels.end()));
  dataset.stored = stored;
  return dataset;
}

Transform plain(std::int64_t size) {
  return {.image_size = size, .resize = 0, .crop = Crop::none, .mean = {0, 0, 0}, .std = {1, 1, 1}};
}
EmbedOptions options_of(std::int64_t size, std::int64_t batch = 3) {
  return {.loader = {.transform = plain(size), .threads = 2}, .batch = batch};
}
// Two features: the first pixel's red, and one.
Variable first_pixel(const Variable& images) {
  const std::int64_t pixels = images.value().numel() / images.dim(0);
  Tensor y({images.dim(0), 2}, DType::f32);
  for (std::int64_t i = 0; i < images.dim(0); ++i) {
    y.data<float>()[2 * i] = images.value().data<float>()[i * pixels];
    y.data<float>()[2 * i + 1] = 1;
  }
  return y;
}

}  // namespace

TEST_SUITE("embed") {
  TEST_CASE("rows come in the order of the data set, whatever the batch") {
    const Dataset dataset = gray_set({0, 51, 102, 153, 204, 255, 5}, {1, 2, 3, 1, 2, 3, 1});
    for (const std::int64_t batch : {1, 3, 7, 100}) {
      std::vector<std::int64_t> progress;
      EmbedOptions options = options_of(4, batch);
      options.on_progress = [&](std::int64_t done, std::int64_t all) {
        progress.push_back(done);
        CHECK(all == 7);
      };
      const Embeddings found = embed(dataset, first_pixel, options);
      REQUIRE(found.values.shape() == Shape{7, 2});
      CHECK(found.labels == std::vector<std::int32_t>{1, 2, 3, 1, 2, 3, 1});
      CHECK(found.samples == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6});
      CHECK(found.values.data<float>()[2 * 4] == 0.8f);
      CHECK(progress.back() == 7);
      CHECK(std::ssize(progress) == (7 + batch - 1) / batch);
      CHECK(found.seconds >= found.seconds_waited);
    }
  }

  TEST_CASE("unreadable pictures are left out, the rest keeps its samples") {
    const TempFolder folder;
    Image image(5, 5, 100);
    folder.write("a/1.png", encode_png(image));
    folder.write("a/2.png", "no picture");
    folder.write("b/3.png", encode_png(image));
    const Dataset dataset = open_dataset({.path = folder.path(), .only_test = true}).test;
    EmbedOptions options = options_of(4);
    CHECK_THROWS_AS(embed(dataset, first_pixel, options), DataError);
    options.loader.on_bad_image = OnBadImage::skip;
    const Embeddings found = embed(dataset, first_pixel, options);
    CHECK(found.values.shape() == Shape{2, 2});
    CHECK(found.samples == std::vector<std::int64_t>{0, 2});
    CHECK(found.labels == std::vector<std::int32_t>{0, 1});
    REQUIRE(found.bad_images.size() == 1);
    CHECK(found.bad_images[0].index == 1);
    folder.write("a/1.png", "");
    folder.write("b/3.png", "x");
    CHECK_THROWS_WITH_AS(embed(dataset, first_pixel, options),
                         doctest::Contains("none of the 3 pictures"), DataError);
  }

  TEST_CASE("a model that returns something else is told so") {
    const Dataset dataset = gray_set({1, 2, 3}, {0, 1, 2});
    CHECK_THROWS_WITH_AS(
        embed(
            dataset, [](const Variable& x) { return x; }, options_of(4)),
        doctest::Contains("expected (3, dim) f32 on cpu from the model, got (3, 4, 4, 3)"), Error);
    const auto broken = [](const Variable& x) -> Variable {
      Tensor y = Tensor::zeros({x.dim(0), 2}, DType::f32);
      y.data<float>()[3] = std::numeric_limits<float>::infinity();
      return y;
    };
    CHECK_THROWS_WITH_AS(embed(dataset, broken, options_of(4)),
                         doctest::Contains("the embedding of picture 1 (gray1) holds inf"),
                         NonFiniteError);
    CHECK_THROWS_WITH_AS(embed(Dataset{}, first_pixel, options_of(4)),
                         doctest::Contains("has no pictures"), UsageError);
  }

  // A linear model of the pixels with a unit row for each picture, on the pictures' device.
  EmbeddingFunction linear_model(Device device) {
    Tensor weight({48, 6}, DType::f32);
    fill_normal(weight, Philox(1, 2), 0, 1);
    return [weight = Variable(weight.to(device))](const Variable& images) {
      return normalize_rows(matmul(reshape(images, {images.dim(0), 48}), weight));
    };
  }

  TEST_CASE("embeddings stay on the model's device, whatever the batch") {
    const Dataset dataset =
        gray_set({0, 51, 102, 153, 204, 255, 5, 77, 78}, {1, 2, 3, 1, 2, 3, 1, 2, 3});
    const Embeddings expected = embed(dataset, linear_model(Device::cpu), options_of(4));
    const auto reference = expected.values.to_vector<float>();
    on_every_device([&](Device device) {
      for (const std::int64_t batch : {1, 2, 4, 9}) {
        INFO(device, ", batches of ", batch);
        EmbedOptions options = options_of(4, batch);
        options.device = device;
        const Embeddings found = embed(dataset, linear_model(device), options);
        CHECK(found.values.device() == device);
        CHECK(found.samples == expected.samples);
        CHECK(found.labels == expected.labels);
        REQUIRE(found.values.shape() == Shape{9, 6});
        const auto values = found.values.to_vector<float>();
        // Sums of 48 products of pixels in 0 .. 1 and weights around 1, then unit rows.
        for (std::size_t i = 0; i < values.size(); ++i)
          CHECK(values[i] == doctest::Approx(reference[i]).epsilon(48 * 0x1p-23));
      }
    });
  }

#ifdef PROXENT_CUDA_EMULATED
  TEST_CASE("batches are uploaded ahead and in order, however late the streams work") {
    const Dataset dataset =
        gray_set({0, 51, 102, 153, 204, 255, 5, 77, 78}, {1, 2, 3, 1, 2, 3, 1, 2, 3});
    const auto pixels = [](const Variable& images) {
      return scale(reshape(images, {images.dim(0), 48}), 2);
    };
    const auto expected = embed(dataset, pixels, options_of(4)).values.to_vector<float>();
    cuda_emulator::set_streams(cuda_emulator::Streams::late);
    for (const std::int64_t batch : {1, 2, 4}) {
      EmbedOptions options = options_of(4, batch);
      options.device = Device::cuda;
      CHECK(embed(dataset, pixels, options).values.to_vector<float>() == expected);
    }
    cuda_emulator::set_streams(cuda_emulator::Streams::at_once);
  }
#endif

  TEST_CASE("a broken embedding is found in any batch, on every device") {
    const Dataset dataset = gray_set({0, 1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 3, 1, 2, 3, 1, 2, 3});
    on_every_device([&](Device device) {
      for (const std::int64_t broken : {0, 3, 5, 8})
        for (const std::int64_t batch : {1, 2, 5, 9}) {
          INFO(device, ", picture ", broken, ", batches of ", batch);
          std::int64_t done = 0;
          const auto function = [&](const Variable& images) -> Variable {
            Tensor y = Tensor::zeros({images.dim(0), 2}, DType::f32);
            const std::int64_t place = broken - done;
            if (place >= 0 && place < images.dim(0))
              y.data<float>()[2 * place + 1] = std::numeric_limits<float>::quiet_NaN();
            done += images.dim(0);
            return y.to(device);
          };
          EmbedOptions options = options_of(4, batch);
          options.device = device;
          const std::string message =
              detail::concat("the embedding of picture ", broken, " (gray", broken, ") holds nan");
          CHECK_THROWS_WITH_AS(embed(dataset, function, options),
                               doctest::Contains(message.c_str()), NonFiniteError);
          if (broken == 0) CHECK(done <= 2 * batch);  // at once, not at the end
        }
    });
  }

  TEST_CASE("queries, gallery and groups follow the samples") {
    Dataset dataset = gray_set({1, 2, 3, 4}, {0, 0, 1, 1});
    dataset.samples[0].is_gallery = false;
    dataset.samples[1].is_query = false;
    dataset.samples[1].group = "serif";
    dataset.samples[2].group = "mono";
    dataset.samples[3].group = "serif";
    Embeddings embeddings;
    embeddings.samples = {0, 1, 3};  // picture 2 could not be read
    const RetrievalOptions found =
        retrieval_options(dataset, embeddings, {.recall_at = {5}, .groups = {9}});
    CHECK(found.queries == std::vector<std::int64_t>{0, 2});
    CHECK(found.gallery == std::vector<std::int64_t>{1, 2});
    CHECK(found.groups == std::vector<std::int32_t>{-1, 0, 0});
    CHECK(found.recall_at == std::vector<std::int64_t>{5});
  }

  TEST_CASE("pixels are centred on their own mean and on the mean picture") {
    const Embeddings found = embed_pixels(gray_set({0, 51, 204}, {0, 0, 0}), options_of(4, 2));
    REQUIRE(found.values.shape() == Shape{3, 48});
    const auto x = found.values.to_vector<float>();
    // A dot of 1 among 15 pixels of gray g has the mean (1 + 15 g) / 16; the mean of g is 1/3.
    for (int row = 0; row < 3; ++row) {
      const double g = row == 0 ? 0 : row == 1 ? 0.2 : 0.8;
      for (int c = 0; c < 48; ++c) {
        const double expected = c < 3 ? 15. / 16 * (1. / 3 - g) : 1. / 16 * (g - 1. / 3);
        CHECK(x[row * 48 + c] == doctest::Approx(expected));
      }
    }
  }

  TEST_CASE("pixels of Fashion-MNIST's odd classes score what NumPy found") {
    Dataset test;
    try {
      test = open_dataset({.name = "fashion-mnist"}).test;
    } catch (const DataError&) {
      MESSAGE("skipped: the package dataset-fashion-mnist is not installed");
      return;
    }
    std::vector<std::int64_t> first(2000);
    std::iota(first.begin(), first.end(), 0);
    test = test.subset(first);
    const Embeddings pixels = embed_pixels(test, options_of(28, 500));
    const RetrievalResult found =
        evaluate_retrieval(pixels.values, pixels.labels, retrieval_options(test, pixels));
    CHECK(found.queries == 2000);
    // In double, one gray channel: R@1 91.70, MAP@R 52.02467, R-precision 62.40490.
    CHECK(found.recall(1) == 0.917);
    CHECK(std::abs(found.map_at_r - 0.5202467) < 1e-6);
    CHECK(std::abs(found.r_precision - 0.6240490) < 1e-6);
  }

  TEST_CASE("plain pixels go to the device that ranks them") {
    const Dataset dataset = gray_set({0, 51, 204}, {0, 0, 0});
    const auto expected = embed_pixels(dataset, options_of(4, 2)).values.to_vector<float>();
    on_every_device([&](Device device) {
      EmbedOptions options = options_of(4, 2);
      options.device = device;
      const Tensor found = embed_pixels(dataset, options).values;
      CHECK(found.device() == device);
      CHECK(found.to_vector<float>() == expected);
    });
  }

  TEST_CASE("chosen queries show right and wrong in their shares, spread over classes") {
    // Forty queries of eight classes; every fourth is wrong, the last two classes have no match.
    std::vector<std::int64_t> first_match;
    std::vector<std::int32_t> labels;
    for (std::int32_t i = 0; i < 40; ++i) {
      labels.push_back(i % 8);
      first_match.push_back(i % 8 >= 6 ? -1 : (i / 8) % 4 == 3 ? 5 : 0);
    }
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const auto chosen = choose_queries(first_match, labels, 6, seed);
      REQUIRE(chosen.size() == 6);
      CHECK(chosen == choose_queries(first_match, labels, 6, seed));
      std::set<std::int32_t> classes;
      std::int64_t right = 0;
      for (const std::int64_t place : chosen) {
        CHECK(first_match[place] >= 0);
        classes.insert(labels[place]);
        right += first_match[place] == 0;
      }
      CHECK(right == 5);  // of 24 right and 6 wrong: 4.8 of 6
      CHECK(first_match[chosen[4]] == 0);
      CHECK(first_match[chosen[5]] == 5);
      CHECK(classes.size() == 6);
    }
    CHECK(choose_queries(first_match, labels, 6, 1) != choose_queries(first_match, labels, 6, 2));
    CHECK(choose_queries(first_match, labels, 1000, 1).size() == 30);
    CHECK(choose_queries(first_match, labels, 0, 1).empty());
    CHECK(choose_queries({}, {}, 5, 1).empty());
    CHECK(choose_queries({-1, 3}, {0, 1}, 4, 1) == std::vector<std::int64_t>{1});
    CHECK(choose_queries({0, 0, 0, 7}, {0, 1, 2, 3}, 2, 1).back() == 3);  // one wrong at least
  }

  TEST_CASE("the sheet frames right neighbours green and wrong ones red") {
    const Dataset dataset = gray_set({10, 12, 13, 200, 202, 11}, {0, 0, 1, 1, 1, 0});
    const Embeddings embeddings = embed(dataset, first_pixel, options_of(4));
    RetrievalOptions retrieval = retrieval_options(dataset, embeddings, {.recall_at = {1}});
    retrieval.distance = Distance::euclidean;
    const RetrievalResult result =
        evaluate_retrieval(embeddings.values, embeddings.labels, retrieval);
    const GridOptions options{
        .queries = 2, .neighbours = 3, .sheet = {.cell = 8, .frame = 2, .gap = 4, .first_gap = 4}};
    const Image sheet = retrieval_grid(dataset, embeddings, retrieval, result, options);
    const std::int64_t cell = 8 + 2 * 2, step = cell + 4;
    CHECK(sheet.width == 4 + 4 * step);
    CHECK(sheet.height == 4 + 2 * step);

    const auto places = choose_queries(result.first_match, embeddings.labels, 2, 1);
    const auto found =
        nearest_neighbours(embeddings.values, embeddings.labels, places, 3, retrieval);
    for (std::int64_t q = 0; q < 2; ++q)
      for (std::int64_t n = 0; n < 3; ++n) {
        const std::uint8_t* frame = sheet.pixel(4 + q * step, 4 + (n + 1) * step);
        CHECK((frame[1] > frame[0]) == found[q][n].is_match);
        CHECK((frame[0] > frame[1]) == !found[q][n].is_match);
      }
    RetrievalResult other = result;
    other.first_match.pop_back();
    CHECK_THROWS_WITH_AS(retrieval_grid(dataset, embeddings, retrieval, other, options),
                         doctest::Contains("6 queries, but the result is of 5"), Error);
  }
}
}  // namespace proxent
