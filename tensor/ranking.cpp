#include "tensor/ranking.h"

namespace proxent {
namespace {

// `x` must be (rows) of that dtype on `device`.
void check_column(std::string_view op, std::string_view what, const Tensor& x, std::int64_t rows,
                  DType dtype, Device device) {
  check(x.shape() == Shape{rows} && x.dtype() == dtype && x.device() == device, op, ": ", what,
        " must be ", Shape{rows}, " ", dtype, " on ", device, ", got ", x, " on ", x.device());
}
void check_rows(std::string_view op, std::string_view what, const RankedRows& x, std::int64_t rows,
                Device device) {
  check_column(op, what, x.numbers, rows, DType::i32, device);
  check_column(op, detail::concat("the groups of ", what), x.groups, rows, DType::i32, device);
}
void check_queries(std::string_view op, const RankedQueries& x, std::int64_t rows, Device device) {
  check_rows(op, "queries", x.rows, rows, device);
  check_column(op, "own_first", x.own_first, rows, DType::i32, device);
  check_column(op, "own_last", x.own_last, rows, DType::i32, device);
  check_column(op, "places", x.places, rows, DType::i64, device);
}
template <class Record>
void check_records(std::string_view op, std::string_view what, const Tensor& x, std::int64_t rows,
                   Device device) {
  const Shape shape = {rows, std::int64_t{sizeof(Record)}};
  check(x.shape() == shape && x.dtype() == DType::u8 && x.device() == device, op, ": ", what,
        " must be ", shape, " u8 on ", device, ", got ", x, " on ", x.device());
}
void check_tile(std::string_view op, const Tensor& tile) {
  check(tile.shape().rank() == 2 && tile.dtype() == DType::f32, op,
        ": the similarities must be (queries, rows) f32, got ", tile);
}

}  // namespace

RankedRows RankedRows::slice(std::int64_t first, std::int64_t count) const {
  return {.numbers = numbers.slice(first, count), .groups = groups.slice(first, count)};
}
RankedQueries RankedQueries::slice(std::int64_t first, std::int64_t count) const {
  return {.rows = rows.slice(first, count),
          .own_first = own_first.slice(first, count),
          .own_last = own_last.slice(first, count),
          .places = places.slice(first, count)};
}

MatchRanks start_ranks(const RankedQueries& queries, const RankedRows& gallery, const Tensor& x,
                       const Tensor& y, Similarity similarity, std::int64_t matches,
                       std::int32_t reach) {
  constexpr std::string_view op = "start_ranks";
  check(x.shape().rank() == 2 && y.shape().rank() == 2 && x.dim(1) == y.dim(1) &&
            x.dtype() == DType::f32 && y.dtype() == DType::f32 && x.device() == y.device(),
        "start_ranks: queries and gallery must be (rows, features) f32 with as many features, got ",
        x, " and ", y);
  check_queries(op, queries, x.dim(0), x.device());
  check_rows(op, "gallery", gallery, y.dim(0), x.device());
  MatchRanks ranks{
      .keys = Tensor({matches}, DType::i64, x.device()),
      .beaten = Tensor({matches}, DType::i32, x.device()),
      .states = Tensor({x.dim(0), std::int64_t{sizeof(MatchState)}}, DType::u8, x.device())};
  launch(op, x.device(), [&](auto device) {
    kernel::start_ranks(device, queries, gallery, x, y, similarity, reach, ranks);
  });
  return ranks;
}

void count_nearer(const RankedQueries& queries, const RankedRows& gallery, const Tensor& tile,
                  std::int64_t first, MatchRanks& ranks) {
  constexpr std::string_view op = "count_nearer";
  check_tile(op, tile);
  check_queries(op, queries, tile.dim(0), tile.device());
  check_rows(op, "gallery", gallery, gallery.numbers.numel(), tile.device());
  check(first >= 0 && first + tile.dim(1) <= gallery.numbers.numel(), op, ": rows ", first, " to ",
        first + tile.dim(1), " of a gallery of ", gallery.numbers.numel());
  check_records<MatchState>(op, "the states", ranks.states, tile.dim(0), tile.device());
  launch(op, tile.device(),
         [&](auto device) { kernel::count_nearer(device, queries, gallery, tile, first, ranks); });
}

void score_ranks(const MatchRanks& ranks, const RankedQueries& queries, Tensor& scores) {
  constexpr std::string_view op = "score_ranks";
  const std::int64_t rows = ranks.states.dim(0);
  const Device device = ranks.states.device();
  check_queries(op, queries, rows, device);
  check_records<MatchScore>(op, "scores", scores, rows, device);
  launch(op, device, [&](auto d) { kernel::score_ranks(d, ranks, queries, scores); });
  scores.mark_edited();
}

void mask_excluded(const RankedRows& queries, const RankedRows& gallery, Tensor& tile) {
  constexpr std::string_view op = "mask_excluded";
  check_tile(op, tile);
  check_rows(op, "queries", queries, tile.dim(0), tile.device());
  check_rows(op, "gallery", gallery, tile.dim(1), tile.device());
  launch(op, tile.device(),
         [&](auto device) { kernel::mask_excluded(device, queries, gallery, tile); });
  tile.mark_edited();
}

}  // namespace proxent
