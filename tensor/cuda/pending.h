// The error of tensor/cuda/pending.cpp, which tests count as a row that is skipped.
#pragma once

#include "tensor/check.h"

namespace proxent {

struct PendingKernel : Error {
  using Error::Error;
};

}  // namespace proxent
