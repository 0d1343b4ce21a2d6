#include "tensor/cpu/backend.h"

#include <atomic>

namespace proxent {
namespace {
std::atomic<bool> is_onednn_enabled = true;
}

bool has_onednn() {
#ifdef PROXENT_ONEDNN
  return true;
#else
  return false;
#endif
}

bool uses_onednn() { return has_onednn() && is_onednn_enabled.load(std::memory_order_relaxed); }

void set_onednn_enabled(bool is_enabled) { is_onednn_enabled = is_enabled; }

}  // namespace proxent
