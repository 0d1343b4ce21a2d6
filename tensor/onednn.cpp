#include "tensor/onednn.h"

#include <atomic>

#ifdef PROXENT_ONEDNN
#include "tensor/onednn/version.h"
#endif

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

std::string onednn_version() {
#ifdef PROXENT_ONEDNN
  return onednn::version();
#else
  return {};
#endif
}

bool uses_onednn() { return has_onednn() && is_onednn_enabled.load(std::memory_order_relaxed); }

void set_onednn_enabled(bool is_enabled) { is_onednn_enabled = is_enabled; }

}  // namespace proxent
