#include "data/loader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "data/dataset_report.h"
#include "data/perceptual_hash.h"
#include "tests/pillow_golden.h"
#include "tests/temp_folder.h"

namespace proxent {
namespace {
namespace fs = std::filesystem;

const fs::path kPictures = PROXENT_SOURCE_DIR "/tests/golden/pictures";

// `count` stored pictures of 6x5 whose gray tells their index; three classes in turn.
Dataset stored_set(std::int64_t count) {
  Dataset dataset;
  dataset.name = "stored";
  dataset.class_names = {"a", "b", "c"};
  auto stored = std::make_shared<StoredPictures>(StoredPictures{6, 5, {}});
  for (std::int64_t i = 0; i < count; ++i) {
    Sample sample;
    sample.stored = i;
    sample.label = static_cast<std::int32_t>(i % 3);
    dataset.samples.push_back(sample);
    for (int p = 0; p < 30; ++p)
      stored->pixels.push_back(static_cast<std::uint8_t>((i * 7 + p * 3) % 256));
  }
  dataset.stored = stored;
  return dataset;
}

// Files on disk: 12 good PNGs in two classes, of which `bad` get another content.
Dataset file_set(const TempFolder& folder, const std::map<int, std::string>& bad) {
  for (int i = 0; i < 12; ++i) {
    const std::string name = (i < 6 ? "a/" : "b/") + std::to_string(100 + i) + ".png";
    Image image = generated_image(8, 9);
    image.pixels[0] = static_cast<std::uint8_t>(i);
    bad.contains(i) ? folder.write(name, bad.at(i)) : folder.write(name, encode_png(image));
  }
  return open_dataset({.path = folder.path(), .only_test = true}).test;
}

Transform small_random() {
  Transform transform = Transform::train(4);
  transform.hflip = 0.5;
  return transform;
}
Transform small_plain() { return {.image_size = 4, .resize = 0, .crop = Crop::none}; }

struct Seen {
  std::vector<std::int64_t> indices;
  std::vector<std::int32_t> labels;
  std::vector<float> pixels;
  BatchPosition position;
  bool operator==(const Seen&) const = default;
};
Tensor input_of(const Batch& batch) {
  return augment(batch.pictures, batch.places, small_plain().normalisation());
}
Seen look(const Batch& batch) {
  return {batch.indices, batch.labels.to_vector<std::int32_t>(), input_of(batch).to_vector<float>(),
          batch.position};
}

std::vector<Seen> take(Loader& loader, int count) {
  std::vector<Seen> seen;
  for (int i = 0; i < count; ++i) {
    const auto batch = loader.next();
    if (!batch) break;
    seen.push_back(look(*batch));
  }
  return seen;
}

TEST_SUITE("loader") {
  TEST_CASE("batches do not depend on threads or prefetch, and follow the sampler") {
    const Dataset dataset = stored_set(23);
    const Sampler sampler(dataset, {.batch = 5, .seed = 3});
    std::vector<Seen> first;
    for (const auto& [threads, prefetch] : {std::pair(1, 1), {1, 4}, {3, 2}, {4, 7}, {6, 1}}) {
      Loader loader(dataset, sampler,
                    {.transform = small_random(), .threads = threads, .prefetch = prefetch});
      const std::vector<Seen> seen = take(loader, 11);
      if (first.empty()) first = seen;
      CHECK(seen == first);
    }
    BatchPosition position;
    for (const Seen& seen : first) {
      CHECK(seen.position == position);
      CHECK(seen.indices == sampler.batch(sampler.epoch_order(position.epoch), position.batch));
      for (std::size_t i = 0; i < seen.indices.size(); ++i)
        CHECK(seen.labels[i] == seen.indices[i] % 3);
      position = sampler.next(position);
    }
    CHECK(position.epoch == 2);
  }

  TEST_CASE("resuming at a position gives the same batches, another seed others") {
    const Dataset dataset = stored_set(23);
    const Sampler sampler(dataset, {.batch = 5, .seed = 3});
    Loader whole(dataset, sampler, {.transform = small_random(), .threads = 2});
    const std::vector<Seen> all = take(whole, 9);
    Loader rest(dataset, sampler, {.transform = small_random(), .threads = 2}, {1, 2});
    CHECK(take(rest, 3) == std::vector<Seen>(all.begin() + 6, all.end()));
    Loader other(dataset, sampler, {.transform = small_random(), .seed = 2, .threads = 2});
    const Seen seen = take(other, 1)[0];
    CHECK(seen.indices == all[0].indices);
    CHECK(seen.pixels != all[0].pixels);
    CHECK_THROWS_AS(Loader(dataset, sampler, {.transform = small_random()}, {0, 4}), Error);
  }

  TEST_CASE("the same picture is augmented differently in each epoch and place") {
    const Dataset dataset = stored_set(1);
    const Sampler sampler(dataset, {.batch = 1});
    Loader loader(dataset, sampler, {.transform = small_random(), .threads = 1});
    std::set<std::vector<float>> versions;
    for (const Seen& seen : take(loader, 10)) versions.insert(seen.pixels);
    CHECK(versions.size() >= 8);  // boxes of a 6x5 picture may coincide
  }

  TEST_CASE("blue first: the same numbers in the other order, each with its colour's mean") {
    const Dataset dataset = stored_set(2);
    Transform rgb = small_plain();
    rgb.mean = {0.1f, 0.2f, 0.3f};
    rgb.std = {0.5f, 1.0f, 2.0f};
    Transform bgr = rgb;
    bgr.is_bgr = true;
    const auto input = [&](const Transform& transform) {
      Loader loader(dataset, 2, {.transform = transform, .threads = 1});
      const auto batch = loader.next();
      return augment(batch->pictures, batch->places, transform.normalisation()).to_vector<float>();
    };
    const std::vector<float> red_first = input(rgb), blue_first = input(bgr);
    REQUIRE(red_first.size() == 2 * 4 * 4 * 3);
    for (std::size_t i = 0; i < red_first.size(); ++i)
      CHECK(blue_first[i] == red_first[i / 3 * 3 + 2 - i % 3]);
    CHECK(blue_first != red_first);
  }

  TEST_CASE("evaluation takes every picture once, in order, unchanged") {
    const Dataset dataset = stored_set(11);
    const Transform transform = small_plain();
    Loader loader(dataset, 4, {.transform = transform, .threads = 3});
    const std::vector<Seen> seen = take(loader, 99);
    REQUIRE(seen.size() == 3);
    CHECK(seen[2].indices == std::vector<std::int64_t>{8, 9, 10});
    Philox random(0, 0);
    const Image expected = transform.apply(dataset.load(9), random);
    for (std::size_t i = 0; i < expected.pixels.size(); ++i) {
      const std::size_t colour = i % 3;
      const float value =
          (static_cast<float>(expected.pixels[i]) / 255.0f - transform.mean[colour]) /
          transform.std[colour];
      REQUIRE(seen[2].pixels[48 + i] == value);
    }
    CHECK(!loader.next());
    CHECK(!loader.next());
    const Dataset none = stored_set(0);
    Loader empty(none, 4, {.transform = transform});
    CHECK(!empty.next());
    CHECK_THROWS_AS(Loader(dataset, 0, {.transform = transform}), UsageError);
    CHECK_THROWS_AS(Loader(dataset, 1, {.transform = transform, .prefetch = 0}), UsageError);
  }

  TEST_CASE("a bad picture stops with file and reason, again and again") {
    const TempFolder folder;
    const Dataset dataset = file_set(folder, {{7, ""}});
    Loader loader(dataset, 3, {.transform = small_plain(), .threads = 2});
    CHECK(loader.next());
    CHECK(loader.next());
    const std::string expected =
        "picture " + (folder.path() / "b" / "107.png").string() + ": the file is empty (0 bytes)";
    for (int i = 0; i < 2; ++i)
      CHECK_THROWS_WITH_AS(loader.next(), doctest::Contains(expected.c_str()), DataError);
  }

  TEST_CASE("skipped pictures are listed once and replaced from their class") {
    const TempFolder folder;
    const Dataset dataset = file_set(folder, {{1, ""}, {7, "text"}, {8, "\x89PNG\r\n"}});
    const Sampler sampler(
        dataset, {.kind = SamplerKind::m_per_class, .batch = 6, .per_class = 3, .seed = 2});
    std::vector<Seen> first;
    for (const int threads : {1, 3}) {
      Loader loader(
          dataset, sampler,
          {.transform = small_random(), .threads = threads, .on_bad_image = OnBadImage::skip});
      CHECK(loader.bad_images().empty());
      const std::vector<Seen> seen = take(loader, 12);
      for (const Seen& batch : seen) {
        CHECK(std::count(batch.labels.begin(), batch.labels.end(), 0) == 3);
        for (const std::int64_t i : batch.indices) CHECK((i != 1 && i != 7 && i != 8));
        for (std::size_t i = 0; i < batch.indices.size(); ++i)
          CHECK(batch.labels[i] == batch.indices[i] / 6);
      }
      const auto bad = loader.bad_images();
      REQUIRE(bad.size() == 3);
      CHECK(bad[0].index == 1);
      CHECK(bad[0].reason.ends_with("the file is empty (0 bytes)"));
      CHECK(bad[1].reason.ends_with("not a JPEG, PNG, BMP, GIF or PNM picture"));
      if (first.empty()) first = seen;
      CHECK(seen == first);
    }
  }

  TEST_CASE("a picture that cannot be resized is as bad as one that cannot be read") {
    const TempFolder folder;
    for (const char* name : {"train/a/1.png", "train/a/2.png", "test/b/1.png"})
      folder.write(name, encode_png(Image(8, 8, 9)));
    Dataset all = open_dataset({.path = folder.path()}).train;
    REQUIRE(all.size() == 2);
    all.samples[0].path = folder.write("strip.png", encode_png(Image(1, 60000))).string();
    LoaderOptions options{.transform = small_plain(), .threads = 1};
    options.transform.resize = 256;
    options.transform.crop = Crop::center;
    CHECK_THROWS_WITH_AS(Loader(all, all.size(), options).next(),
                         doctest::Contains("strip.png: resize: a picture of 60000x1 becomes"),
                         DataError);
    options.on_bad_image = OnBadImage::skip;
    Loader loader(all, all.size(), options);
    CHECK(loader.next()->labels.numel() == all.size() - 1);
    CHECK(loader.bad_images().size() == 1);
  }

  TEST_CASE("evaluation leaves bad pictures out, even whole batches of them") {
    const TempFolder folder;
    const Dataset dataset = file_set(folder, {{1, "x"}, {4, "x"}, {5, "x"}});
    Loader loader(dataset, 2,
                  {.transform = small_plain(), .threads = 2, .on_bad_image = OnBadImage::skip});
    const std::vector<Seen> seen = take(loader, 99);
    REQUIRE(seen.size() == 6);
    CHECK(seen[0].indices == std::vector<std::int64_t>{0});
    CHECK(seen[0].pixels.size() == 48);
    CHECK(seen[2].indices.empty());
    CHECK(seen[3].indices == std::vector<std::int64_t>{6, 7});
    CHECK(loader.bad_images().size() == 3);
  }

  TEST_CASE("a class, and a data set, without any good picture") {
    const TempFolder folder;
    std::map<int, std::string> bad;
    for (int i = 0; i < 6; ++i) bad[i] = "x";
    const Dataset half = file_set(folder, bad);
    const Sampler sampler(half, {.batch = 12});
    const LoaderOptions options{
        .transform = small_plain(), .threads = 2, .on_bad_image = OnBadImage::skip};
    {
      Loader loader(half, sampler, options);
      const Seen seen = take(loader, 1).at(0);
      for (const std::int32_t label : seen.labels) CHECK(label == 1);
    }
    for (int i = 6; i < 12; ++i) bad[i] = "x";
    const Dataset none = file_set(folder, bad);
    Loader loader(none, sampler, options);
    CHECK_THROWS_WITH_AS(loader.next(), doctest::Contains("none of its 12 pictures can be read"),
                         DataError);
  }

  TEST_CASE("a loader can be dropped at any moment") {
    const Dataset dataset = stored_set(200);
    const Sampler sampler(dataset, {.batch = 50});
    for (int batches = 0; batches < 20; ++batches) {
      Loader loader(dataset, sampler, {.transform = small_random(), .threads = 4, .prefetch = 3});
      take(loader, batches % 4);
    }
    Loader late(dataset, sampler, {.transform = small_random(), .threads = 2});
    CHECK(late.seconds_waited() == 0);
    CHECK(late.next());
    CHECK(late.seconds_waited() >
          0);  // nothing can be ready before it was asked for the first time
  }

  TEST_CASE("the cache gives the same batches and keeps to its bytes") {
    const TempFolder folder;
    const Dataset dataset = file_set(folder, {});
    const Sampler sampler(dataset, {.batch = 4});
    const std::int64_t one = 8 * 9 * 3;
    LoaderOptions options{.transform = small_random(), .threads = 2};
    Loader plain(dataset, sampler, options);
    const std::vector<Seen> expected = take(plain, 9);
    options.cache = std::make_shared<ImageCache>(5 * one + 10);
    {
      Loader cached(dataset, sampler, options);
      CHECK(take(cached, 9) == expected);
    }
    CHECK(options.cache->bytes() == 5 * one);
    options.cache = std::make_shared<ImageCache>(1 << 20);
    {
      Loader cached(dataset, sampler, options);
      CHECK(take(cached, 9) == expected);
    }
    CHECK(options.cache->bytes() == 12 * one);
    for (const Sample& sample : dataset.samples) fs::remove(sample.path);
    Loader from_memory(dataset, sampler, options);
    CHECK(take(from_memory, 9) == expected);
  }
}

TEST_SUITE("dataset_report") {
  TEST_CASE("everything odd about a data set is counted and named") {
    const TempFolder folder;
    const auto copy = [&](const char* from, const char* to) {
      folder.write(to, read_file(kPictures / from));
    };
    copy("gray.jpg", "train/both/1.jpg");
    copy("cmyk.jpg", "train/both/2.jpg");
    copy("exif_6.jpg", "train/lone/1.jpg");
    copy("rgba.png", "train/x/1.png");
    copy("rgb_16bit.png", "train/x/2.png");
    copy("palette.png", "train/x/3.png");
    folder.write("train/x/4.png", std::string_view());
    copy("cmyk.jpg", "test/both/copy.jpg");
    copy("rgb.png", "test/both/2.png");
    copy("rgb.bmp", "test/y/1.bmp");
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    for (const int threads : {1, 3}) {
      const DatasetReport report = check_datasets(splits, threads);
      CHECK(report.pictures == 10);
      REQUIRE(report.unreadable.size() == 1);
      CHECK(report.unreadable[0].path.ends_with("train/x/4.png"));
      CHECK(report.gray == 1);
      CHECK(report.cmyk == 2);
      CHECK(report.alpha == 1);
      CHECK(report.palette == 1);
      CHECK(report.sixteen_bit == 1);
      CHECK(report.exif_turned == 1);
      CHECK(report.smallest_side == 21);
      CHECK(report.largest_side == 30);
      CHECK(report.lone_classes == std::vector<std::string>{"train: lone", "test: y"});
      CHECK(report.shared_classes == std::vector<std::string>{"both"});
      REQUIRE(report.identical.size() == 1);
      CHECK(report.identical[0].second.ends_with("test/both/copy.jpg"));
      CHECK(report.identical[0].is_across_splits);
      CHECK(!report.identical[0].has_other_class);
      CHECK(!report.identical[0].is_evaluated);
      REQUIRE(report.queries_without_match.size() == 1);
      CHECK(report.queries_without_match[0].ends_with("test/y/1.bmp"));
      CHECK(!report.is_sound());
      CHECK(report.to_text().find("identical pictures: 1\n") != std::string::npos);
      CHECK(report.to_text().find("queries without a match in the gallery: 1\n") !=
            std::string::npos);
    }
  }

  TEST_CASE("a picture of other bytes but the same look is found across splits") {
    const TempFolder folder;
    const Image photo = load_image(kPictures / "rgb_444.jpg");
    folder.write("train/a/1.png", encode_png(photo));
    folder.write("train/a/2.png", encode_png(flip_horizontal(photo)));
    folder.write("train/z/1.png", encode_png(Image(9, 20, 7)));
    folder.write("test/b/1.png",
                 encode_png(resize_bilinear(photo, photo.height * 2, photo.width * 2)));
    folder.write("test/b/2.png", encode_png(Image(20, 20, 128)));
    const DatasetReport report = check_datasets(open_dataset({.path = folder.path()}));
    REQUIRE(report.near.size() == 1);
    CHECK(report.near[0].first.ends_with("train/a/1.png"));
    CHECK(report.near[0].second.ends_with("test/b/1.png"));
    CHECK(report.near[0].bits <= kNearBits);
    CHECK(report.near[0].has_other_class);
    CHECK(report.identical.empty());
    CHECK(report.is_sound());
    CHECK(report.to_text().find("pictures alike across splits: 1\n") != std::string::npos);
  }

  TEST_CASE("the nearest hash is found, the first of equals, and none that is far or absent") {
    const std::vector<std::optional<std::uint64_t>> hashes{0x0f, std::nullopt, 0x00, 0x01, 0x01};
    const std::vector<std::optional<std::uint64_t>> queries{0x03, 0xff0000, std::nullopt, 0x01};
    for (const int threads : {1, 3}) {
      const std::vector<NearestHash> nearest = nearest_hashes(queries, hashes, 2, threads);
      REQUIRE(nearest.size() == 4);
      CHECK((nearest[0].index == 3 && nearest[0].bits == 1));
      CHECK(nearest[1].index == -1);
      CHECK(nearest[2].index == -1);
      CHECK((nearest[3].index == 3 && nearest[3].bits == 0));
    }
    CHECK(!perceptual_hash(Image(9, 9, 200)));
  }

  TEST_CASE("copies in test or of two classes, one class and no match are not sound") {
    const TempFolder folder;
    const auto add = [&](const char* name, int value) {
      folder.write(name, encode_png(Image(2, 2, static_cast<std::uint8_t>(value))));
    };
    int value = 0;
    for (const char* name : {"train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png",
                             "test/c/1.png", "test/c/2.png", "test/d/1.png", "test/d/2.png"})
      add(name, ++value);
    const auto report = [&] { return check_datasets(open_dataset({.path = folder.path()})); };
    CHECK(report().is_sound());
    add("train/a/2.png", 1);
    CHECK(report().identical.size() == 1);
    CHECK(report().is_sound());  // twice in one class: no number is wrong
    add("train/b/2.png", 1);
    CHECK_FALSE(report().is_sound());
    add("train/b/2.png", 4);
    add("test/c/2.png", 5);
    REQUIRE(report().identical.size() == 2);
    CHECK_FALSE(report().is_sound());
    CHECK(report().to_text().find("(twice in what is tested)") != std::string::npos);

    add("test/c/2.png", 6);
    fs::remove_all(folder.path() / "train/b");
    CHECK(report().impossible ==
          std::vector<std::string>{"train: one class only, and a loss needs two to tell apart"});
    fs::remove(folder.path() / "test/c/2.png");
    fs::remove(folder.path() / "test/d/2.png");
    CHECK(report().impossible[0] == "test: no query has a match in the gallery");
    CHECK(report().queries_without_match.size() == 2);
    CHECK_FALSE(report().is_sound());
  }

  TEST_CASE("the same box of a copied file is found, whatever other boxes the file has") {
    const TempFolder folder;
    for (const char* name : {"a.png", "copy.png"}) folder.write(name, encode_png(Image(4, 4, 9)));
    folder.write("b.png", encode_png(Image(4, 4, 200)));
    folder.write("t.csv",
                 "label,path,split,is_query,is_gallery,x_1,x_2,y_1,y_2\n"
                 "1,a.png,train,,,0,2,0,2\n"
                 "2,a.png,train,,,2,4,2,4\n"
                 "3,copy.png,validation,1,1,2,4,2,4\n"
                 "3,b.png,validation,1,1,,,,\n");
    const DatasetReport report = check_datasets(open_dataset({.path = folder.path()}));
    REQUIRE(report.identical.size() == 1);
    CHECK(report.identical[0].second.ends_with("copy.png"));
    CHECK(report.identical[0].is_across_splits);
  }

  TEST_CASE("groups and query splits decide what a query can match; an empty set is sound") {
    DatasetSplits splits{.test = stored_set(6)};  // two pictures of each class
    CHECK(check_datasets(splits).queries_without_match.empty());
    splits.test.samples[0].group = splits.test.samples[3].group = "g";
    CHECK(check_datasets(splits).queries_without_match.size() == 2);
    splits.test.samples[1].is_gallery = false;
    // 4 has only 1, which 1 does not need.
    CHECK(check_datasets(splits).queries_without_match.size() == 3);
    CHECK(check_datasets(splits).is_sound());
    CHECK(check_datasets({}).is_sound());
    CHECK(check_datasets({}).to_text().starts_with("0 pictures"));
  }
}
}  // namespace
}  // namespace proxent
