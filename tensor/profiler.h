// Which part of the program a profiler of the GPU collects. What it calls the parts comes from
// Scope, tensor/check.h.
#pragma once

#include "tensor/device.h"

namespace proxent {

// A profiler that waits for the program's word (nsys --capture-range=cudaProfilerApi, ncu
// --profile-from-start off) collects what is done between these two. Both wait for the GPU first,
// so that nothing queued before slips in. Nothing to do on the CPU. Throws CudaError.
void start_profiler(Device device);
void stop_profiler(Device device);

}  // namespace proxent
