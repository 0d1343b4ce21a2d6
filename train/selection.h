// How the weights that a number belongs to were chosen, which stands beside every number.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace proxent {

enum class Selection : std::uint8_t {
  val_selected,  // best on held-out training classes
  last_epoch,    // where training ended
  test_selected  // best on the very set the number is from: optimistic, not a fair result
};
std::string_view name_of(Selection selection);  // "val-selected", "last-epoch", "test-selected"
// The other way round. Throws DataError, naming `origin`, for another name.
Selection selection_from_name(std::string_view name, std::string_view origin);
// What a run.protocol leads to: val, mlrc, last, paper or none.
Selection selection_of(std::string_view protocol);
// Of a mean over runs: theirs, or last_epoch where in some of them no evaluation could choose.
Selection common_selection(const std::vector<Selection>& selections);

}  // namespace proxent
