#include "train/selection.h"

#include <algorithm>

#include "tensor/check.h"

namespace proxent {

std::string_view name_of(Selection selection) {
  switch (selection) {
    case Selection::val_selected:
      return "val-selected";
    case Selection::last_epoch:
      return "last-epoch";
    case Selection::test_selected:
      break;
  }
  return "test-selected";
}

Selection selection_from_name(std::string_view name, std::string_view origin) {
  for (const Selection selection :
       {Selection::val_selected, Selection::last_epoch, Selection::test_selected})
    if (name_of(selection) == name) return selection;
  fail<DataError>(origin,
                  ": expected a selection of val-selected, last-epoch or test-selected, got '",
                  name, "'");
}

Selection selection_of(std::string_view protocol) {
  if (protocol == "val" || protocol == "mlrc") return Selection::val_selected;
  if (protocol == "paper") return Selection::test_selected;
  return Selection::last_epoch;
}

Selection common_selection(const std::vector<Selection>& selections) {
  const bool is_common = std::ranges::all_of(
      selections, [&](Selection selection) { return selection == selections.front(); });
  return is_common && !selections.empty() ? selections.front() : Selection::last_epoch;
}

}  // namespace proxent
