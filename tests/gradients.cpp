// Proof 1 of every op: float64 central differences.
#include <doctest/doctest.h>

#include "tests/op_table.h"

TEST_SUITE("gradients") {
  using namespace proxent;

  TEST_CASE("every op's gradient equals central differences") {
    for (const OpRow& row : op_table()) {
      INFO(row.name);
      const auto result =
          gradcheck(row.call, op_inputs(row, DType::f64), {.tolerance = row.gradient_tolerance});
      INFO(result.text());
      CHECK(result.passed);
    }
  }
}
