// Retrieval metrics: against sorting everything, by hand, and on the borders.
#include "train/retrieval.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "tensor/allocator.h"
#include "tensor/random.h"
#include "tests/devices.h"

TEST_SUITE("retrieval") {
  using namespace proxent;
  using Rows = std::vector<std::int64_t>;
  using Labels = std::vector<std::int32_t>;

  Tensor column(const std::vector<float>& values) {
    return Tensor::from<float>({std::ssize(values), 1}, values);
  }

  // Of one ranking with r matches: the definitions of mAP, P@K and nDCG@K, literally.
  void add_rank_scores(const std::vector<bool>& is_match, std::int64_t r, RetrievalResult& result) {
    std::int64_t matches = 0;
    for (std::size_t i = 0; i < is_match.size() && result.map; ++i) {
      matches += is_match[i];
      if (is_match[i]) *result.map += double(matches) / double(i + 1) / double(r);
    }
    const auto size = std::ssize(is_match);
    for (ValueAtK& at : result.precision_at) {
      const auto last = is_match.begin() + std::min(at.k, size);
      at.value += double(std::count(is_match.begin(), last, true)) / double(at.k);
    }
    for (ValueAtK& at : result.ndcg_at) {
      double gained = 0, ideal = 0;
      for (std::int64_t i = 0; i < std::min(at.k, size); ++i) {
        if (is_match[i]) gained += 1 / std::log2(double(i + 2));
        if (i < r) ideal += 1 / std::log2(double(i + 2));
      }
      at.value += gained / ideal;
    }
  }

  // The definitions, literally: sort all that a query may find, in double.
  RetrievalResult brute_force(const Tensor& embeddings, const Labels& labels,
                              const RetrievalOptions& options) {
    const auto x = embeddings.to_vector<double>();
    const std::int64_t n = embeddings.dim(0), dim = embeddings.dim(1);
    Rows all(n);
    std::iota(all.begin(), all.end(), 0);
    const auto similarity = [&](std::int64_t a, std::int64_t b) {
      double dot = 0, aa = 0, bb = 0, distance = 0;
      for (std::int64_t d = 0; d < dim; ++d) {
        const double u = x[a * dim + d], v = x[b * dim + d];
        dot += u * v, aa += u * u, bb += v * v, distance += (u - v) * (u - v);
      }
      if (options.distance == Distance::euclidean) return -distance;
      return aa * bb == 0 ? 0 : dot / std::sqrt(aa * bb);
    };
    RetrievalResult result;
    for (const std::int64_t k : options.recall_at) result.recall_at.push_back({.k = k});
    for (const std::int64_t k : options.precision_at) result.precision_at.push_back({k, 0});
    for (const std::int64_t k : options.ndcg_at) result.ndcg_at.push_back({k, 0});
    if (options.wants_map) result.map = 0;
    result.gallery = std::ssize(options.gallery.value_or(all));
    for (const std::int64_t q : options.queries.value_or(all)) {
      std::vector<std::pair<double, std::int64_t>> ranking;
      for (const std::int64_t g : options.gallery.value_or(all))
        if (g != q && (options.groups.empty() || options.groups[q] < 0 ||
                       options.groups[g] != options.groups[q]))
          ranking.push_back({-similarity(q, g), g});
      std::sort(ranking.begin(), ranking.end());
      std::vector<bool> is_match;
      for (const auto& [_, g] : ranking) is_match.push_back(labels[g] == labels[q]);
      const std::int64_t r = std::count(is_match.begin(), is_match.end(), true);
      if (r == 0) {
        ++result.queries_without_match;
        result.first_match.push_back(-1);
        continue;
      }
      ++result.queries;
      const std::int64_t first =
          std::find(is_match.begin(), is_match.end(), true) - is_match.begin();
      result.first_match.push_back(first);
      const double best = ranking[first].first;
      std::int64_t nearer = 0, equal = 0, matches = 0;
      for (std::size_t i = 0; i < ranking.size(); ++i) {
        nearer += !is_match[i] && ranking[i].first < best;
        equal += !is_match[i] && ranking[i].first == best;
      }
      for (RecallAtK& at : result.recall_at) {
        at.recall += first < at.k;
        at.ties += nearer < at.k && nearer + equal >= at.k;
      }
      for (std::int64_t i = 0; i < r; ++i) {
        if (!is_match[i]) continue;
        ++matches;
        result.map_at_r += double(matches) / double(i + 1) / double(r);
      }
      result.r_precision += double(matches) / double(r);
      result.mrr += 1 / double(first + 1);
      add_rank_scores(is_match, r, result);
    }
    const double n_queries = std::max<double>(1, result.queries);
    for (RecallAtK& at : result.recall_at) at.recall /= n_queries;
    result.map_at_r /= n_queries;
    result.r_precision /= n_queries;
    result.mrr /= n_queries;
    for (auto* at : {&result.precision_at, &result.ndcg_at})
      for (ValueAtK& value : *at) value.value /= n_queries;
    if (result.map) *result.map /= n_queries;
    return result;
  }

  void check_equal(const RetrievalResult& a, const RetrievalResult& b, double tolerance) {
    CHECK(a.queries == b.queries);
    CHECK(a.queries_without_match == b.queries_without_match);
    CHECK(a.gallery == b.gallery);
    CHECK(a.first_match == b.first_match);
    REQUIRE(a.recall_at.size() == b.recall_at.size());
    for (std::size_t i = 0; i < a.recall_at.size(); ++i) {
      CAPTURE(a.recall_at[i].k);
      CHECK(a.recall_at[i].k == b.recall_at[i].k);
      CHECK(a.recall_at[i].recall == b.recall_at[i].recall);
      CHECK(a.recall_at[i].ties == b.recall_at[i].ties);
    }
    CHECK(std::abs(a.map_at_r - b.map_at_r) <= tolerance);
    CHECK(std::abs(a.r_precision - b.r_precision) <= tolerance);
    CHECK(std::abs(a.mrr - b.mrr) <= tolerance);
    REQUIRE(a.map.has_value() == b.map.has_value());
    CHECK(std::abs(a.map.value_or(0) - b.map.value_or(0)) <= tolerance);
    for (auto at : {&RetrievalResult::precision_at, &RetrievalResult::ndcg_at}) {
      REQUIRE((a.*at).size() == (b.*at).size());
      for (std::size_t i = 0; i < (a.*at).size(); ++i) {
        CAPTURE((a.*at)[i].k);
        CHECK((a.*at)[i].k == (b.*at)[i].k);
        CHECK(std::abs((a.*at)[i].value - (b.*at)[i].value) <= tolerance);
      }
    }
  }
  constexpr double kSummation = 1e-12;  // the same terms in double, added in another order

  // Four features of 1 or -1: length 2, so that cosines are exact and most pairs tie.
  Tensor signs(std::int64_t rows, std::uint64_t seed) {
    Philox random(seed, 1);
    std::vector<float> x(rows * 4);
    for (float& v : x) v = random.below(2) ? 1.f : -1.f;
    return Tensor::from<float>({rows, 4}, x);
  }
  Labels random_labels(std::int64_t rows, std::int64_t classes, std::uint64_t seed) {
    Philox random(seed, 2);
    Labels labels(rows);
    for (auto& label : labels) label = static_cast<std::int32_t>(random.below(classes)) * 3 - 7;
    return labels;
  }
  Rows random_rows(std::int64_t rows, double share, std::uint64_t seed) {
    Philox random(seed, 3);
    Rows chosen;
    for (std::int64_t i = rows; i-- > 0;)
      if (random.uniform() < share) chosen.push_back(i);
    return chosen;
  }

  // Nothing more, what needs few ranks, or all of them.
  void ask_for_ranks(std::uint64_t seed, RetrievalOptions & options) {
    if (seed % 4 > 0) options.precision_at = options.ndcg_at = {1, 3, 20};
    if (seed % 4 > 1) options.ndcg_at.push_back(2000);
    options.wants_map = seed % 4 > 2;
  }

  TEST_CASE("equals sorting everything, with ties, groups, lists and every number of classes") {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      CAPTURE(seed);
      Philox random(seed, 0);
      const std::int64_t rows = 1 + random.below(90);
      const Labels labels = random_labels(rows, 1 + random.below(rows), seed);
      RetrievalOptions options{.recall_at = {1, 2, 5, 1000}};
      if (seed % 2) options.distance = Distance::euclidean;
      if (seed % 3 == 1) options.groups = random_labels(rows, 3, seed + 100);  // -7 and -4: in none
      if (seed % 5 > 1) options.queries = random_rows(rows, 0.5, seed);
      if (seed % 5 > 2) options.gallery = random_rows(rows, 0.7, seed + 50);
      if (seed % 7 == 3) options.query_tile = options.gallery_tile = 1 + random.below(20);
      ask_for_ranks(seed, options);
      const Tensor x = signs(rows, seed);
      check_equal(evaluate_retrieval(x, labels, options), brute_force(x, labels, options),
                  kSummation);
    }
  }

  TEST_CASE("equals sorting everything for embeddings in general position") {
    for (const Distance distance : {Distance::cosine, Distance::euclidean}) {
      Tensor x({400, 19}, DType::f32);
      fill_normal(x, Philox(3, 1), 0.3, 1);
      const Labels labels = random_labels(400, 23, 5);
      RetrievalOptions options{.recall_at = {1, 10, 100}, .distance = distance};
      for (std::uint64_t seed = 0; seed < 4; ++seed) {
        ask_for_ranks(seed, options);
        check_equal(evaluate_retrieval(x, labels, options), brute_force(x, labels, options),
                    kSummation);
      }
    }
  }

  TEST_CASE("queries may search as something else than they are found as") {
    Tensor x({60, 5}, DType::f32), y({60, 5}, DType::f32);
    fill_normal(x, Philox(7, 1), 0, 1);
    fill_normal(y, Philox(7, 2), 0, 1);
    const Labels labels = random_labels(60, 5, 7);
    // The same as rows of their own behind those of the gallery, kept from their first selves.
    Tensor both({120, 5}, DType::f32);
    both.slice(0, 60).copy_from(x);
    both.slice(60, 60).copy_from(y);
    Labels twice = labels;
    twice.insert(twice.end(), labels.begin(), labels.end());
    Rows first(60), second(60);
    std::iota(first.begin(), first.end(), 0);
    std::iota(second.begin(), second.end(), 60);
    Labels groups(120);
    for (std::int32_t i = 0; i < 120; ++i) groups[i] = i % 60;
    check_equal(
        evaluate_retrieval(x, labels, {.as_queries = y}),
        evaluate_retrieval(both, twice, {.queries = second, .gallery = first, .groups = groups}),
        0);
    CHECK_THROWS_WITH_AS(evaluate_retrieval(x, labels, {.as_queries = Tensor({60, 4}, DType::f32)}),
                         doctest::Contains("embeddings as queries must be like"), Error);
  }

  TEST_CASE("ranks of matches may be changed before anything is computed from them") {
    const Tensor x = column({0, 1, 2, 3, 4});
    const Labels labels = {1, 2, 1, 3, 1};
    Rows places;
    RetrievalOptions options{.recall_at = {1, 2},
                             .precision_at = {2},
                             .ndcg_at = {2},
                             .wants_map = true,
                             .distance = Distance::euclidean,
                             .queries = Rows{0}};
    options.change_ranks = [&](std::int64_t place, std::vector<std::int32_t>& ranks) {
      places.push_back(place);
      CHECK(ranks == std::vector<std::int32_t>{1, 3});
      ranks = {0, 3};
    };
    const RetrievalResult found = evaluate_retrieval(x, labels, options);
    CHECK(places == Rows{0});
    CHECK(found.recall(1) == 1);
    CHECK(found.map_at_r == 0.5);
    CHECK(found.r_precision == 0.5);
    CHECK(found.mrr == 1);
    CHECK(found.map == 0.75);
    CHECK(found.precision_at[0].value == 0.5);
    CHECK(found.ndcg_at[0].value == doctest::Approx(1 / (1 + 1 / std::log2(3.))).epsilon(1e-12));
  }

  // A set of golden/retrieval.json.
  struct GoldenSet {
    explicit GoldenSet(const nlohmann::json& c)
        : labels(c["labels"].get<Labels>()),
          options{.recall_at = c["recall_at"].get<Rows>(),
                  .distance = distance_from_name(c["distance"].get<std::string>())} {
      const auto rows = c["embeddings"].get<std::vector<std::vector<float>>>();
      std::vector<float> values;
      for (const auto& row : rows) values.insert(values.end(), row.begin(), row.end());
      embeddings = Tensor::from<float>({std::ssize(rows), std::ssize(rows[0])}, values);
      if (!c["queries"].is_null()) options.queries = c["queries"].get<Rows>();
      if (!c["gallery"].is_null()) options.gallery = c["gallery"].get<Rows>();
    }

    Tensor embeddings;
    Labels labels;
    RetrievalOptions options;
  };

  nlohmann::json read_golden(const std::string& name) {
    std::ifstream file(PROXENT_SOURCE_DIR "/tests/golden/" + name);
    return nlohmann::json::parse(file);
  }

  TEST_CASE("equals pytorch-metric-learning") {
    const auto golden = read_golden("retrieval.json");
    REQUIRE(golden["cases"].size() == 4);
    for (const auto& c : golden["cases"]) {
      CAPTURE(c["name"].get<std::string>());
      const GoldenSet set(c);
      const RetrievalResult found = evaluate_retrieval(set.embeddings, set.labels, set.options);
      // The same counts; the library averages in float32 on the way.
      for (std::size_t k = 0; k < set.options.recall_at.size(); ++k)
        CHECK(std::abs(found.recall_at[k].recall - c["recall"][k].get<double>()) < 1e-12);
      CHECK(std::abs(found.map_at_r - c["map_at_r"].get<double>()) < 1e-6);
      CHECK(std::abs(found.r_precision - c["r_precision"].get<double>()) < 1e-6);
    }
  }

  TEST_CASE("finds the neighbours that faiss finds") {
    const auto golden = read_golden("faiss.json"), sets = read_golden("retrieval.json")["cases"];
    REQUIRE(golden["neighbours"].size() == sets.size());
    for (std::size_t i = 0; i < sets.size(); ++i) {
      CAPTURE(sets[i]["name"].get<std::string>());
      const GoldenSet set(sets[i]);
      Rows queries(set.labels.size());
      std::iota(queries.begin(), queries.end(), 0);
      if (set.options.queries) queries = *set.options.queries;
      // One more than faiss was asked for: which of equally near rows comes last is its choice.
      const auto found = nearest_neighbours(set.embeddings, set.labels, queries,
                                            golden["k"].get<std::int64_t>() + 1, set.options);
      const auto expected = golden["neighbours"][i].get<std::vector<Rows>>();
      REQUIRE(found.size() == expected.size());
      std::int64_t same = 0, all = 0;
      for (std::size_t q = 0; q < found.size(); ++q)
        for (std::size_t rank = 0; rank < expected[q].size(); ++rank, ++all) {
          const auto of_faiss =
              std::find_if(found[q].begin(), found[q].end(),
                           [&](const Neighbour& n) { return n.row == expected[q][rank]; });
          REQUIRE(of_faiss != found[q].end());
          const float similarity = found[q][rank].similarity;
          CHECK(std::abs(of_faiss->similarity - similarity) <= 1e-5f * std::abs(similarity));
          same += found[q][rank].row == expected[q][rank];
        }
      CHECK(same > all * 99 / 100);  // the others are equally near
    }
  }

  TEST_CASE("does not depend on tiles or threads") {
    Tensor x({500, 33}, DType::f32);
    fill_normal(x, Philox(4, 1), 0, 1);
    x.slice(100, 50).copy_from(x.slice(300, 50).clone());  // duplicates, of other classes too
    const Labels labels = random_labels(500, 40, 6);
    const RetrievalOptions options{
        .recall_at = {1, 2, 4, 8}, .precision_at = {5}, .ndcg_at = {5, 50}, .wants_map = true};
    const RetrievalResult expected = evaluate_retrieval(x, labels, options);
    CHECK(expected.recall_at[0].ties > 0);
    const int threads = omp_get_max_threads();
    for (const auto& [query_tile, gallery_tile, n] :
         {std::tuple{1, 500, 1}, {7, 11, 2}, {500, 1, 3}, {64, 48, 1}, {499, 501, 2}}) {
      omp_set_num_threads(n);
      RetrievalOptions tiled = options;
      tiled.query_tile = query_tile;
      tiled.gallery_tile = gallery_tile;
      check_equal(evaluate_retrieval(x, labels, tiled), expected, 0);
    }
    omp_set_num_threads(threads);
  }

  TEST_CASE("MAP@R and R-precision of rankings made by hand") {
    // The query is row 0 at 0; the others' distance is their rank. 1 marks its class.
    const auto ranked = [](const std::vector<int>& is_match) {
      std::vector<float> x = {0};
      Labels labels = {1};
      for (const int match : is_match) {
        x.push_back(static_cast<float>(x.size()));
        labels.push_back(match ? 1 : 100 + static_cast<std::int32_t>(x.size()));
      }
      return evaluate_retrieval(
          column(x), labels,
          {.recall_at = {1, 3}, .distance = Distance::euclidean, .queries = Rows{0}});
    };
    // R = 3, right at ranks 1 and 3: (1/1 + 2/3) / 3; the match at rank 5 is beyond R.
    CHECK(ranked({1, 0, 1, 0, 1}).map_at_r == doctest::Approx((1 + 2. / 3) / 3).epsilon(1e-15));
    CHECK(ranked({1, 0, 1, 0, 1}).r_precision == doctest::Approx(2. / 3).epsilon(1e-15));
    // R = 2, right at ranks 2 and 3: (1/2) / 2.
    CHECK(ranked({0, 1, 1}).map_at_r == 0.25);
    CHECK(ranked({0, 1, 1}).r_precision == 0.5);
    CHECK(ranked({0, 1, 1}).recall(1) == 0);
    CHECK(ranked({0, 1, 1}).recall(3) == 1);
    // R = 1, right at rank 2 only: nothing among the first R, though Recall@3 hits.
    CHECK(ranked({0, 1}).map_at_r == 0);
    CHECK(ranked({0, 1}).recall(3) == 1);
    CHECK(ranked({1, 1, 1, 0}).map_at_r == 1);
    CHECK(ranked({0, 0, 0, 1, 1, 1}).map_at_r == 0);
    CHECK(ranked({0, 0, 0, 1, 1, 1}).r_precision == 0);
    CHECK(ranked({0, 0, 0, 1, 1, 1}).first_match == Rows{3});
  }

  TEST_CASE("a duplicate does not stand in for the query itself") {
    // Rows 0 and 1 are equal but of different classes. Dropping whatever comes first as 'self'
    // would hide that row 1 finds row 0, and calls it a hit when it is row 2.
    const Tensor x = column({1, 1, 2, 2});
    const Labels labels = {5, 6, 6, 5};
    const RetrievalResult result =
        evaluate_retrieval(x, labels, {.recall_at = {1, 2}, .distance = Distance::euclidean});
    CHECK(result.first_match == Rows{2, 1, 2, 1});
    CHECK(result.recall(1) == 0);
    CHECK(result.recall(2) == 0.5);
    // The match of row 0 is row 3, tied with row 2: the lower row comes first, by rule not by
    // merit.
    CHECK(result.recall_at[0].ties == 0);
    CHECK(result.recall_at[1].ties == 4);
  }

  TEST_CASE("ties are counted where the order of equals decides") {
    const Tensor x = column({0, 1, 1, 1, 1});  // the query, three strangers, one match: all equal
    const Labels labels = {1, 2, 3, 1, 4};
    const auto result = evaluate_retrieval(
        x, labels,
        {.recall_at = {1, 3, 4, 9}, .distance = Distance::euclidean, .queries = Rows{0}});
    CHECK(result.first_match == Rows{2});
    CHECK(result.recall(1) == 0);
    CHECK(result.recall(3) == 1);
    CHECK(result.recall_at[0].ties == 1);
    CHECK(result.recall_at[1].ties == 1);
    CHECK(result.recall_at[2].ties == 0);
    CHECK(result.recall_at[3].ties == 0);
  }

  TEST_CASE("classes of one are skipped and counted") {
    const auto result = evaluate_retrieval(column({1, 2, 3, 4}), Labels{0, 1, 1, 2},
                                           {.recall_at = {1}, .distance = Distance::euclidean});
    CHECK(result.queries == 2);
    CHECK(result.queries_without_match == 2);
    CHECK(result.recall(1) == 0.5);  // row 1 ties between rows 0 and 2; row 2 finds row 1 likewise
    CHECK(result.first_match == Rows{-1, 1, 0, -1});
  }

  TEST_CASE("zero, one and two rows; empty lists; K beyond the gallery") {
    for (const std::int64_t rows : {0, 1, 2})
      for (const std::int32_t other : {3, 4}) {
        Labels labels = {3, other};
        labels.resize(rows);
        const Tensor x = Tensor::full({rows, 2}, DType::f32, 1);
        const RetrievalOptions options{.recall_at = {1, 50}};
        check_equal(evaluate_retrieval(x, labels, options), brute_force(x, labels, options), 0);
      }
    const Tensor x = column({1, 2, 3});
    const Labels labels = {0, 0, 0};
    const auto nobody = evaluate_retrieval(x, labels, {.queries = Rows{}});
    CHECK(nobody.queries == 0);
    CHECK(nobody.map_at_r == 0);
    CHECK(nobody.recall(8) == 0);
    const auto nothing = evaluate_retrieval(x, labels, {.gallery = Rows{}});
    CHECK(nothing.queries_without_match == 3);
    CHECK(evaluate_retrieval(Tensor({3, 0}, DType::f32), labels).recall(1) == 1);
  }

  TEST_CASE("zero rows are as far from everything as right angles") {
    const Tensor x = Tensor::from<float>({4, 2}, {0, 0, 1, 0, -1, 0.5f, 1e-30f, 0});
    const auto found = nearest_neighbours(x, Labels{0, 0, 0, 0}, Rows{1}, 3);
    CHECK(found[0][0].row == 3);  // tiny, but its direction counts
    CHECK(found[0][0].similarity == 1);
    CHECK(found[0][1].row == 0);
    CHECK(found[0][1].similarity == 0);
    CHECK(found[0][2].row == 2);
  }

  TEST_CASE("neighbours come in the order of the metrics") {
    const Tensor x = signs(60, 9);
    const Labels labels = random_labels(60, 6, 9);
    RetrievalOptions options;
    options.groups = random_labels(60, 4, 10);
    options.gallery = random_rows(60, 0.8, 11);
    const RetrievalResult result = evaluate_retrieval(x, labels, options);
    Rows queries(60);
    std::iota(queries.begin(), queries.end(), 0);
    const auto found = nearest_neighbours(x, labels, queries, 100, options);
    for (std::int64_t q = 0; q < 60; ++q) {
      const auto first = std::ranges::find_if(found[q], &Neighbour::is_match);
      CHECK((first == found[q].end() ? -1 : first - found[q].begin()) == result.first_match[q]);
    }
    CHECK(nearest_neighbours(x, labels, Rows{4}, 0, options)[0].empty());
    CHECK(nearest_neighbours(x, labels, Rows{4}, 3, options)[0].size() == 3);
  }

  // What evaluate_retrieval and nearest_neighbours find on every device, against the CPU.
  void check_on_every_device(const Tensor& x, const Labels& labels,
                             const RetrievalOptions& options) {
    const RetrievalResult expected = evaluate_retrieval(x, labels, options);
    Rows queries(std::min<std::int64_t>(7, x.dim(0)));
    std::iota(queries.begin(), queries.end(), 0);
    const auto neighbours = nearest_neighbours(x, labels, queries, 9, options);
    on_every_device([&](Device device) {
      INFO(device);
      const Tensor there = x.to(device);
      check_equal(evaluate_retrieval(there, labels, options), expected, 0);
      const auto found = nearest_neighbours(there, labels, queries, 9, options);
      REQUIRE(found.size() == neighbours.size());
      for (std::size_t q = 0; q < found.size(); ++q) {
        REQUIRE(found[q].size() == neighbours[q].size());
        for (std::size_t i = 0; i < found[q].size(); ++i) {
          CHECK(found[q][i].row == neighbours[q][i].row);
          CHECK(found[q][i].similarity == neighbours[q][i].similarity);
          CHECK(found[q][i].is_match == neighbours[q][i].is_match);
        }
      }
    });
  }

  TEST_CASE("every device finds the same: ties, groups, lists and tiles") {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      CAPTURE(seed);
      Philox random(seed, 4);
      const std::int64_t rows = 1 + random.below(150);
      const Labels labels = random_labels(rows, 1 + random.below(rows) / 3, seed);
      RetrievalOptions options{.recall_at = {1, 2, 5, 1000}};
      if (seed % 2) options.distance = Distance::euclidean;
      if (seed % 3 == 1) options.groups = random_labels(rows, 3, seed + 100);
      if (seed % 4 > 1) options.queries = random_rows(rows, 0.6, seed);
      if (seed % 5 > 2) options.gallery = random_rows(rows, 0.7, seed + 50);
      if (seed % 3 == 2) {
        options.query_tile = 20 + random.below(40);
        options.gallery_tile = 30 + random.below(40);
      }
      ask_for_ranks(seed, options);
      check_on_every_device(signs(rows, seed), labels, options);
    }
  }

#if defined(__FMA__) && (defined(__clang__) || !defined(PROXENT_SANITIZE_ADDRESS))
  // Where the CPU fuses multiply and add, too; under sanitizers GCC does not.
  TEST_CASE("every device finds the same among embeddings in general position") {
    for (const Distance distance : {Distance::cosine, Distance::euclidean})
      for (const std::int64_t dim : {1, 19, 64}) {
        CAPTURE(dim);
        Tensor x({200, dim}, DType::f32);
        fill_normal(x, Philox(6, 1), 0.3, 1);
        x.slice(10, 40).copy_from(x.slice(110, 40).clone());  // duplicates, of other classes too
        const RetrievalOptions options{.recall_at = {1, 2, 10, 100}, .distance = distance};
        check_on_every_device(x, random_labels(200, 13, 8), options);
        RetrievalOptions tiled = options;
        tiled.query_tile = 64;
        tiled.gallery_tile = 70;
        check_on_every_device(x, random_labels(200, 13, 8), tiled);
      }
  }
#endif

  TEST_CASE("every device finds the same in classes of thousands") {
    const std::int64_t rows = 2600;  // on the GPU, too many matches for its shared memory
    Labels labels(rows);
    for (std::int64_t row = 0; row < rows; ++row) labels[row] = row % 6 == 5;
    for (const Distance distance : {Distance::cosine, Distance::euclidean}) {
      const RetrievalOptions options{
          .recall_at = {1, 50}, .distance = distance, .queries = Rows{3, 5, 2599}};
      check_on_every_device(signs(rows, 21), labels, options);
    }
  }

  TEST_CASE("no rows, no features and no matches on every device") {
    on_every_device([](Device device) {
      INFO(device);
      const Tensor x = column({1, 2, 3}).to(device);
      const Labels labels = {0, 0, 0};
      CHECK(evaluate_retrieval(x, labels, {.queries = Rows{}}).queries == 0);
      CHECK(evaluate_retrieval(x, labels, {.gallery = Rows{}}).queries_without_match == 3);
      CHECK(evaluate_retrieval(x, Labels{0, 1, 2}).queries_without_match == 3);
      CHECK(evaluate_retrieval(Tensor({3, 0}, DType::f32, device), labels).recall(1) == 1);
      CHECK(evaluate_retrieval(Tensor({0, 2}, DType::f32, device), Labels{}).queries == 0);
      CHECK(nearest_neighbours(x, labels, Rows{}, 3).empty());
      CHECK(nearest_neighbours(x, labels, Rows{1}, 3, {.gallery = Rows{}})[0].empty());
    });
  }

  TEST_CASE("a distance beyond the range of float32 is the largest there is") {
    on_every_device([](Device device) {
      INFO(device);
      const Tensor x = column({0, 1e30f, -1e30f, 2}).to(device);
      const RetrievalOptions options{.recall_at = {1}, .distance = Distance::euclidean};
      const auto found = nearest_neighbours(x, Labels{0, 0, 1, 1}, Rows{0}, 9, options);
      REQUIRE(found[0].size() == 3);
      CHECK(found[0][0].row == 3);
      CHECK(found[0][1].row == 1);
      CHECK(found[0][2].row == 2);
      CHECK(found[0][2].similarity == std::numeric_limits<float>::lowest());
      CHECK(evaluate_retrieval(x, Labels{0, 0, 1, 1}, options).first_match == Rows{1, 0, 2, 2});
    });
  }

  TEST_CASE("what is not finite is found on every device") {
    on_every_device([](Device device) {
      INFO(device);
      const float inf = std::numeric_limits<float>::infinity();
      const Tensor x = Tensor::from<float>({2, 2}, {3e38f, -3e38f, 3, -inf}).to(device);
      CHECK_THROWS_WITH_AS(evaluate_retrieval(x, Labels{0, 1}),
                           doctest::Contains("embedding 1 holds -inf at feature 1"),
                           NonFiniteError);
      CHECK(evaluate_retrieval(x.slice(0, 1), Labels{0}).queries_without_match == 1);
    });
  }

  TEST_CASE("memory of every device grows with the rows, not with their pairs") {
    const std::int64_t rows = 400, dim = 4, tile = 128;
    const Labels labels = random_labels(rows, 60, 7);
    on_every_device([&](Device device) {
      INFO(device);
      const Tensor x = signs(rows, 30).to(device);
      const RetrievalOptions options{.query_tile = tile, .gallery_tile = tile};
      reset_memory_peak(device);
      const std::int64_t before = memory_report(device).in_use;
      CHECK(evaluate_retrieval(x, labels, options).queries == rows);
      // The gallery's copy, what is known of each row, and a tile; all pairs would be 640 KB.
      CHECK(memory_report(device).peak - before < rows * (dim * 4 + 64) + 2 * tile * tile * 4);
      Rows queries(rows);
      std::iota(queries.begin(), queries.end(), 0);
      reset_memory_peak(device);
      nearest_neighbours(x, labels, queries, 3, options);
      CHECK(memory_report(device).peak - before < rows * (dim * 4 + 64) + 2 * tile * tile * 4);
    });
  }

  TEST_CASE("memory grows with the rows, not with their pairs") {
    const std::int64_t rows = 6000, dim = 32;
    Tensor x({rows, dim}, DType::f32);
    fill_normal(x, Philox(5, 1), 0, 1);
    const Labels labels = random_labels(rows, 60, 7);
    reset_memory_peak(Device::cpu);
    const std::int64_t before = memory_report(Device::cpu).in_use;
    const RetrievalOptions options{.query_tile = 256, .gallery_tile = 256};
    CHECK(evaluate_retrieval(x, labels, options).queries == rows);
    // The gallery's copy, what is known of each row, four tiles and their packed rows; all pairs
    // would be 144 MB.
    CHECK(memory_report(Device::cpu).peak - before < rows * (dim * 4 + 64) + 4 * 256 * 256 * 4);
  }

  TEST_CASE("what makes no sense is refused by name") {
    const Tensor x = column({1, 2, 3});
    const Labels labels = {0, 1, 0};
    const auto message = [&](const RetrievalOptions& options) -> std::string {
      try {
        evaluate_retrieval(x, labels, options);
      } catch (const UsageError& error) {
        return error.message();
      }
      return "";
    };
    CHECK(message({.recall_at = {1, 0}}) == "retrieval: Recall@K needs K >= 1, got 0");
    CHECK(message({.queries = Rows{0, 3}}) ==
          "retrieval: query row 3 does not exist, there are 3 embeddings");
    CHECK(message({.gallery = Rows{1, -1}}) ==
          "retrieval: gallery row -1 does not exist, there are 3 embeddings");
    CHECK(message({.gallery = Rows{1, 2, 1}}) == "retrieval: gallery row 1 is listed twice");
    CHECK(message({.query_tile = 0}) ==
          "retrieval: tiles must have a row at least, got 0 and 1024");
    CHECK_THROWS_WITH_AS(evaluate_retrieval(x, Labels{0, 1}),
                         doctest::Contains("3 embeddings, but 2 labels"), Error);
    CHECK_THROWS_WITH_AS(evaluate_retrieval(x, labels, {.groups = {1}}),
                         doctest::Contains("3 embeddings, but 1 groups"), Error);
    CHECK_THROWS_WITH_AS(evaluate_retrieval(x.to(DType::f64), labels),
                         doctest::Contains("(rows, features) f32, got (3, 1) f64"), Error);
    CHECK_THROWS_WITH_AS(evaluate_retrieval(x, labels).recall(3),
                         doctest::Contains("Recall@3 was not asked for"), Error);
    const Tensor broken = column({1, std::numeric_limits<float>::quiet_NaN(), 3});
    CHECK_THROWS_WITH_AS(evaluate_retrieval(broken, labels),
                         doctest::Contains("embedding 1 holds nan at feature 0"), NonFiniteError);
    CHECK_THROWS_WITH_AS(distance_from_name("manhattan"),
                         doctest::Contains("expected cosine or euclidean, got 'manhattan'"),
                         UsageError);
  }
}
