#include "tensor/profiler.h"

namespace proxent {
#ifndef PROXENT_CUDA
void start_profiler(Device) {}
void stop_profiler(Device) {}
#endif
}  // namespace proxent
