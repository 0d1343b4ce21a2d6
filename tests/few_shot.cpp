// Few-shot tasks: chance, certainty, a case by hand, and what is refused.
#include "train/few_shot.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>

#include "tensor/random.h"

namespace proxent {
namespace {

using Labels = std::vector<std::int32_t>;

Labels repeated_labels(std::int64_t classes, std::int64_t each) {
  Labels labels;
  for (std::int64_t i = 0; i < classes * each; ++i)
    labels.push_back(static_cast<std::int32_t>(i % classes) * 5 - 3);
  return labels;
}

Tensor noise(std::int64_t rows, std::int64_t dim) {
  Tensor x({rows, dim}, DType::f32);
  fill_normal(x, Philox(1, 1), 0, 1);
  return x;
}

}  // namespace

TEST_SUITE("few_shot") {
  TEST_CASE("noise is recognised by chance, and all from one point by the first class") {
    const Labels labels = repeated_labels(20, 30);
    for (const std::int64_t way : {2, 5, 20}) {
      const FewShotResult found = few_shot(noise(600, 16), labels, {.way = way});
      CHECK(std::abs(found.accuracy - 1 / double(way)) < 4 * found.interval);
      CHECK(found.interval > 0);
      CHECK(found.interval < 0.02);
      CHECK(found.classes == 20);
    }
    const FewShotResult same = few_shot(Tensor::full({600, 3}, DType::f32, 2), labels, {});
    CHECK(same.accuracy == doctest::Approx(0.2).epsilon(1e-12));
    CHECK(same.interval < 1e-12);
  }

  TEST_CASE("classes in directions of their own are always recognised, at any length") {
    const Labels labels = repeated_labels(6, 20);
    Tensor x = noise(120, 6);
    for (std::int64_t r = 0; r < 120; ++r) {
      x.data<float>()[r * 6 + r % 6] += 100;
      for (int d = 0; d < 6; ++d) x.data<float>()[r * 6 + d] *= 1.f + static_cast<float>(r);
    }
    const FewShotResult found = few_shot(x, labels, {.way = 6, .shots = 3, .tasks = 50});
    CHECK(found.accuracy == 1);
    CHECK(found.interval == 0);
    const FewShotResult one_task = few_shot(x, labels, {.way = 6, .shots = 3, .tasks = 1});
    CHECK(std::isnan(one_task.interval));  // no spread, not none
  }

  TEST_CASE("a prototype is the mean of directions, and belongs to the nearest") {
    // Three pictures of each of two classes, 2 shots and 1 query, so each task is one of nine.
    // Class a: 0, 0 and 100 degrees; class b: 90 degrees, at great lengths that must not count.
    const double degree = std::acos(-1.0) / 180;
    std::vector<float> x;
    for (const auto& [angle, length] :
         {std::pair{0., 1.}, {0., 1000.}, {100., 1.}, {90., 1.}, {90., 7.}, {90., 900.}}) {
      x.push_back(static_cast<float>(length * std::cos(angle * degree)));
      x.push_back(static_cast<float>(length * std::sin(angle * degree)));
    }
    const Labels labels = {0, 0, 0, 1, 1, 1};
    const FewShotOptions options{.way = 2, .shots = 2, .queries = 1, .tasks = 3000};
    const FewShotResult found = few_shot(Tensor::from<float>({6, 2}, x), labels, options);
    // The query at 100 degrees (a third of the tasks) is nearer to b; those at 0 are nearer to the
    // mean of 0 and 100, at 50; the query of b is right: 40 degrees from 50, 0 from its own.
    const double expected = (1. / 3 * 0.5 + 2. / 3 * 1);
    CHECK(std::abs(found.accuracy - expected) < 4 * found.interval);
    // s^2 of a task that scores 0.5 in a third of the cases and else 1.
    const double s = std::sqrt(0.25 * (1. / 3) * (2. / 3));
    CHECK(found.interval == doctest::Approx(1.96 * s / std::sqrt(3000.)).epsilon(0.05));
  }

  TEST_CASE("the seed decides, not the threads") {
    const Labels labels = repeated_labels(10, 20);
    const Tensor x = noise(200, 8);
    const double accuracy = few_shot(x, labels, {.seed = 4}).accuracy;
    const int threads = omp_get_max_threads();
    omp_set_num_threads(3);
    CHECK(few_shot(x, labels, {.seed = 4}).accuracy == accuracy);
    omp_set_num_threads(threads);
    CHECK(few_shot(x, labels, {.seed = 5}).accuracy != accuracy);
  }

  TEST_CASE("classes with too few pictures are left out and counted, until too few are left") {
    Labels labels = repeated_labels(5, 16);
    labels.insert(labels.end(), 15, 99);
    const Tensor x = noise(95, 4);
    const FewShotResult found = few_shot(x, labels, {.tasks = 3});
    CHECK(found.classes == 5);
    CHECK(found.skipped_classes == 1);
    CHECK_THROWS_WITH_AS(
        few_shot(x, labels, {.way = 6}),
        doctest::Contains("few-shot: a task of 6 classes needs 16 pictures of each (1 shot, 15 "
                          "queries), but only 5 of 6 classes have so many. Choose fewer"),
        DataError);
    CHECK_THROWS_AS(few_shot(x, labels, {.shots = 0}), UsageError);
    CHECK_THROWS_AS(few_shot(x, labels, {.way = 1}), UsageError);
    CHECK_THROWS_WITH_AS(few_shot(x, Labels{1}, {}), doctest::Contains("expected (1, features)"),
                         Error);
  }

  TEST_CASE("the way is a number, or 5-way") {
    CHECK(way_from_text("5-way") == 5);
    CHECK(way_from_text("20") == 20);
    for (const char* text : {"", "five", "1-way", "5way", "-way", "5-ways"})
      CHECK_THROWS_AS(way_from_text(text), UsageError);
  }
}
}  // namespace proxent
