#include "tensor/proxy_loss.h"

#include "tensor/gather.h"

namespace proxent {

void check_proxy_loss(const Tensor& embeddings, const Tensor& proxies, const Tensor& labels,
                      const Tensor& usage, const ProxyLossSettings& settings) {
  constexpr std::string_view op = "multi_proxy_entropy";
  check(embeddings.shape().rank() == 2 && is_float(embeddings.dtype()), op,
        ": embeddings must be (rows, dim) in f32 or f64, got ", embeddings);
  check(proxies.shape().rank() == 3 && proxies.numel() > 0, op,
        ": proxies must be (classes, proxies per class, dim), each 1 or more, got ", proxies);
  check(embeddings.dim(1) == proxies.dim(2), op, ": embeddings ", embeddings.shape(),
        " and proxies ", proxies.shape(), " differ in their last size");
  check(embeddings.dtype() == proxies.dtype() && embeddings.device() == proxies.device(), op,
        ": embeddings are ", embeddings, " on ", embeddings.device(), ", proxies ", proxies, " on ",
        proxies.device());
  check_index(op, labels, embeddings.device(),
              {.size = embeddings.dim(0),
               .limit = proxies.dim(0),
               .what = "label",
               .exception = kIgnoredLabel});
  if (!usage.is_defined()) {
    check(settings.weight_usage == 0, op, ": weight_usage is ", settings.weight_usage,
          ", but no usage average was given");
    return;
  }
  check(usage.shape() == Shape{proxies.dim(0), proxies.dim(1)} &&
            usage.dtype() == proxies.dtype() && usage.device() == proxies.device(),
        op, ": usage must be (classes, proxies per class) as proxies ", proxies, ", got ", usage);
}

ProxyLoss proxy_loss(const Tensor& embeddings, const Tensor& proxies, const Tensor& labels,
                     const Tensor& usage, const ProxyLossSettings& settings,
                     bool keeps_similarities) {
  check_proxy_loss(embeddings, proxies, labels, usage, settings);
  const std::int64_t B = embeddings.dim(0), K = proxies.dim(1), CK = proxies.dim(0) * K;
  const auto tensor = [&](Shape shape) {
    return Tensor(shape, embeddings.dtype(), embeddings.device());
  };
  ProxyLoss out{.terms = tensor({5}),
                .assignment = tensor({B, K}),
                .unit = tensor({padded_rows(B), embeddings.dim(1)}),
                .length = tensor({B}),
                .proxy_scale = tensor({CK}),
                .similarities = keeps_similarities ? tensor({CK, padded_rows(B)}) : Tensor(),
                .rows = tensor({B, 5}),
                .own_gradients = tensor({B, K})};
  launch("proxy_loss", embeddings.device(), [&](auto device) {
    kernel::proxy_loss(device, embeddings, proxies, labels, usage, settings, out);
  });
  return out;
}

ProxyLossGradients proxy_loss_backward(const Tensor& dy, const Tensor& proxies,
                                       const Tensor& labels, const ProxyLossSettings& settings,
                                       ProxyLoss forward, bool wants_dz, bool wants_dw) {
  check(forward.similarities.is_defined(),
        "proxy_loss_backward: the forward pass kept no similarities");
  check(dy.numel() == 1, "proxy_loss_backward: dy must be one element, got ", dy);
  const auto tensor = [&](Shape shape) { return Tensor(shape, proxies.dtype(), proxies.device()); };
  ProxyLossGradients out{wants_dz ? tensor({labels.dim(0), proxies.dim(2)}) : Tensor(),
                         wants_dw ? tensor(proxies.shape()) : Tensor()};
  launch("proxy_loss_backward", proxies.device(), [&](auto device) {
    kernel::proxy_loss_backward(device, dy, proxies, labels, settings, forward, out.dz, out.dw);
  });
  return out;
}

void update_proxy_usage(const Tensor& assignment, const Tensor& labels, double rate,
                        Tensor& usage) {
  constexpr std::string_view op = "update_proxy_usage";
  check(assignment.shape().rank() == 2 && usage.shape().rank() == 2 &&
            assignment.dim(1) == usage.dim(1) && assignment.dtype() == usage.dtype() &&
            assignment.device() == usage.device(),
        op, ": assignment must be (rows, proxies per class) and usage (classes, the same), got ",
        assignment, " and ", usage);
  check(rate >= 0 && rate <= 1, op, ": rate must be in [0, 1], got ", rate);
  check_index(op, labels, assignment.device(),
              {.size = assignment.dim(0),
               .limit = usage.dim(0),
               .what = "label",
               .exception = kIgnoredLabel});
  launch(op, usage.device(),
         [&](auto device) { kernel::update_proxy_usage(device, assignment, labels, rate, usage); });
  usage.mark_edited();
}

}  // namespace proxent
