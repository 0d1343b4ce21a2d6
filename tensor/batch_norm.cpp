#include "tensor/batch_norm.h"

namespace proxent {
namespace {

void check_channels(std::string_view name, const Tensor& values, const Tensor& x) {
  const Shape expected{x.dim(-1)};
  const DType dtype = sum_dtype(x.dtype());
  check(values.shape() == expected && values.dtype() == dtype && values.device() == x.device(),
        "batch_norm: ", name, " should be ", expected, " ", dtype, " on ", x.device(), " for x ", x,
        ", got ", values, " on ", values.device());
}

std::int64_t rows_of(const Tensor& x) { return x.dim(-1) == 0 ? 0 : x.numel() / x.dim(-1); }

void check_inputs(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                  const Tensor& running_mean, const Tensor& running_var,
                  const BatchNormOptions& options, const Tensor& residual) {
  check(x.shape().rank() == 2 || x.shape().rank() == 4,
        "batch_norm: x must be (N, C) or (N, H, W, C), got ", x.shape());
  check_channels("gamma", gamma, x);
  check_channels("beta", beta, x);
  if (!options.uses_batch_statistics || running_mean.is_defined() || running_var.is_defined()) {
    check_channels("running_mean", running_mean, x);
    check_channels("running_var", running_var, x);
  }
  if (residual.is_defined())
    check(residual.shape() == x.shape() && residual.dtype() == x.dtype() &&
              residual.device() == x.device(),
          "batch_norm: residual should be like x ", x, " on ", x.device(), ", got ", residual,
          " on ", residual.device());
  check<UsageError>(!options.uses_batch_statistics || rows_of(x) >= 2,
                    "batch_norm: batch statistics need at least 2 values per channel, got x ",
                    x.shape(), "; take a larger batch, larger images or running statistics");
}

// A tensor like dy: dy itself if nobody else can see its memory.
Tensor reuse_or_new(const Tensor& dy) {
  return dy.storage().use_count() == 1 ? dy : Tensor(dy.shape(), dy.dtype(), dy.device());
}

}  // namespace

BatchNormed batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                       Tensor& running_mean, Tensor& running_var, const BatchNormOptions& options,
                       const Tensor& residual) {
  check_inputs(x, gamma, beta, running_mean, running_var, options, residual);
  const auto like_gamma = [&] { return Tensor(gamma.shape(), gamma.dtype(), x.device()); };
  BatchNormKept kept{x, like_gamma(), like_gamma(), gamma, beta, options.has_relu, {}};
  Tensor y(x.shape(), x.dtype(), x.device());
  if (options.has_relu && residual.is_defined()) {
    if (x.device() != Device::cpu)
      kept.passed = Tensor({(x.numel() + 7) / 8}, DType::u8, x.device());
    else if (!options.is_remade)
      kept.passed = y;
  }
  launch("batch_norm", x.device(), [&](auto device) {
    if (options.uses_batch_statistics)
      kernel::batch_statistics(device, x, options, kept.mean, kept.invstd, running_mean,
                               running_var);
    else
      kernel::running_statistics(device, running_mean, running_var, options.eps, kept.mean,
                                 kept.invstd);
    kernel::batch_norm(device, kept, residual, y);
  });
  if (options.uses_batch_statistics && running_mean.is_defined()) {
    running_mean.mark_edited();
    running_var.mark_edited();
  }
  return {y, kept};
}

Tensor batch_norm_again(const BatchNormKept& kept, const Tensor& residual) {
  Tensor y(kept.x.shape(), kept.x.dtype(), kept.x.device());
  launch("batch_norm_again", y.device(),
         [&](auto device) { kernel::batch_norm(device, kept, residual, y); });
  return y;
}

BatchNormGradients batch_norm_backward(Tensor dy, const BatchNormKept& kept,
                                       const BatchNormOptions& options,
                                       const BatchNormWanted& wanted) {
  constexpr std::string_view op = "batch_norm_backward";
  check_same(op, dy, kept.x);
  BatchNormGradients out;
  BatchNormKept left = kept;
  const bool is_moving = options.uses_batch_statistics;  // mean and variance depend on x
  if (wanted.parameters || wanted.dresidual || is_moving) {
    out.dgamma = Tensor(kept.gamma.shape(), kept.gamma.dtype(), dy.device());
    out.dbeta = Tensor(kept.gamma.shape(), kept.gamma.dtype(), dy.device());
    Tensor dz;
    if (wanted.dresidual && kept.has_relu) dz = reuse_or_new(dy);
    launch(op, dy.device(), [&](auto device) {
      kernel::batch_norm_backward_sums(device, dy, kept, out.dgamma, out.dbeta, dz);
    });
    if (dz.is_defined()) dy = dz, left.has_relu = false;
  }
  if (wanted.dresidual) out.dresidual = dy;
  if (!wanted.dx) return out;
  out.dx = reuse_or_new(dy);
  launch(op, dy.device(), [&](auto device) {
    kernel::batch_norm_backward_input(device, dy, left, is_moving ? out.dgamma : Tensor(),
                                      is_moving ? out.dbeta : Tensor(), out.dx);
  });
  return out;
}

}  // namespace proxent
