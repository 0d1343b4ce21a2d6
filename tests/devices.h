// The devices that a test can run on.
#pragma once

#include <functional>

#include "tensor/device.h"

namespace proxent {

// True where the GPU, or its emulation, can be used; says that the test is skipped where it cannot.
bool has_gpu();

// Calls test() for the CPU, and for the GPU where there is one; for its emulation several times,
// each with another order of the threads. Meanwhile fresh tensors of that device read as NaN and
// have canaries behind them.
void on_every_device(const std::function<void(Device)>& test);

}  // namespace proxent
