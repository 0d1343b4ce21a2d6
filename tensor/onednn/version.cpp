#include "tensor/onednn/version.h"

#include <dnnl.h>

namespace proxent::onednn {

std::string version() {
  const dnnl_version_t* v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace proxent::onednn
