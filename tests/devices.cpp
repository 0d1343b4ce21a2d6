#include "tests/devices.h"

#include <doctest/doctest.h>

#include "tensor/gpu.h"

#ifdef PROXENT_CUDA_EMULATED
#include "tests/cuda_emulator/emulator.h"
#endif

namespace proxent {
namespace {
void run_guarded(const std::function<void(Device)>& test, Device device) {
  const MemoryGuard guard(device);
  test(device);
}
}  // namespace

bool has_gpu() {
  const std::string problem = gpu_report().problem;
  if (!problem.empty()) MESSAGE("skipped: ", problem);
  return problem.empty();
}

void on_every_device(const std::function<void(Device)>& test) {
  run_guarded(test, Device::cpu);
#ifdef PROXENT_CUDA_EMULATED
  using cuda_emulator::Order;
  for (const Order order : {Order::reverse, Order::shuffled, Order::forward}) {
    cuda_emulator::set_order(order);
    run_guarded(test, Device::cuda);
  }
#else
  if (gpu_report().problem.empty()) run_guarded(test, Device::cuda);
#endif
}

}  // namespace proxent
