// Kernels that have not been written for CUDA yet: calling one throws. A topic's block goes when
// its kernels come, and the file with the last of them; until then CUDA is built only when asked
// for.
#include "tensor/cuda/pending.h"
#include "tensor/proxy_loss.h"

#define PENDING(name, ...) \
  void name(Cuda, __VA_ARGS__) { fail<PendingKernel>(#name ": not written for CUDA yet"); }

namespace proxent::kernel {

// proxy_loss
PENDING(proxy_loss, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
        const ProxyLossSettings&, ProxyLoss&)
PENDING(proxy_loss_backward, const Tensor&, const Tensor&, const Tensor&, const ProxyLossSettings&,
        ProxyLoss&, Tensor&, Tensor&)
PENDING(update_proxy_usage, const Tensor&, const Tensor&, double, Tensor&)

}  // namespace proxent::kernel
