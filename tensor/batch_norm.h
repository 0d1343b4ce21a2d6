// Batch normalisation over all axes but the last (Ioffe and Szegedy, 2015), with the residual sum
// and the ReLU that follow it in a residual network:
//   y = [relu](gamma (x - mean) invstd + beta [+ residual]),  invstd = 1 / sqrt(variance + eps).
// x is (N, C) or (N, H, W, C); a "row" is one of its N or N H W vectors of C channels.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

struct BatchNormOptions {
  double eps = 1e-5, momentum = 0.1;  // momentum: weight of the new statistics, as in PyTorch
  bool uses_batch_statistics = true;  // false: the running ones, as constants
  bool has_relu = false;
  // For autograd: ops that take y keep no copy of it for backward, but have it made again from x,
  // which is kept anyway: a pass over memory more, a tensor less.
  bool is_remade = false;
};

// What backward needs of forward.
struct BatchNormKept {
  Tensor x, mean, invstd, gamma, beta;  // the statistics that normalised x, (C) each
  bool has_relu = false;
  // Where the ReLU of a residual sum let values pass: on the CPU y itself, which is positive there,
  // on the GPU a bit for every element, bit i % 8 of byte i / 8. Undefined without a residual: then
  // y > 0 is computed again from x, which is read anyway. Undefined on the CPU if y is made again:
  // backward wants it here first.
  Tensor passed;
};

namespace kernel {
// mean (C) of the rows of x, and invstd (C) of their biased variance. The running statistics,
// unless undefined, become (1 - momentum) running + momentum * batch, the variance's with the
// unbiased one: rows / (rows - 1) times the biased. Unlike PyTorch's they stay where the batch's
// are not finite: a step that is skipped (f16 that overflowed) must not spoil them for good.
KERNEL(batch_statistics, const Tensor& x, const BatchNormOptions& options, Tensor& mean,
       Tensor& invstd, Tensor& running_mean, Tensor& running_var);
// mean = running_mean and invstd = 1 / sqrt(running_var + eps): what backward uses while the
// running ones move on.
KERNEL(running_statistics, const Tensor& running_mean, const Tensor& running_var, double eps,
       Tensor& mean, Tensor& invstd);
// y as above, and on the GPU the bits of kept.passed; residual may be undefined.
KERNEL(batch_norm, const BatchNormKept& kept, const Tensor& residual, Tensor& y);
// With dz = dy where there was no ReLU or y > 0, else 0, and xhat = (x - mean) invstd:
// dgamma = sum of dz xhat, dbeta = sum of dz over the rows; dz is written unless undefined. It may
// be dy's memory.
KERNEL(batch_norm_backward_sums, const Tensor& dy, const BatchNormKept& kept, Tensor& dgamma,
       Tensor& dbeta, Tensor& dz);
// dx = gamma invstd (dz - (dbeta + xhat dgamma) / rows), or dx = gamma invstd dz if dgamma and
// dbeta are undefined: then the statistics are constants. dx may be dy's memory.
KERNEL(batch_norm_backward_input, const Tensor& dy, const BatchNormKept& kept, const Tensor& dgamma,
       const Tensor& dbeta, Tensor& dx);
}  // namespace kernel

struct BatchNormed {
  Tensor y;
  BatchNormKept kept;
};

// gamma, beta (C), of x's dtype, or f32 where x is of two bytes. With batch statistics the running
// ones, (C) each, are updated, unless both are undefined; without, they are read. Throws Error on
// shapes that do not fit, and for batch statistics of fewer than two rows, whose variance says
// nothing.
BatchNormed batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                       Tensor& running_mean, Tensor& running_var, const BatchNormOptions& options,
                       const Tensor& residual = {});

// y once more, from what was kept and the same residual: the same bits.
Tensor batch_norm_again(const BatchNormKept& kept, const Tensor& residual = {});

// dresidual = dz of the kernels above. What nobody wants is undefined, except that dx with batch
// statistics cannot be had without dgamma and dbeta.
struct BatchNormGradients {
  Tensor dx, dgamma, dbeta, dresidual;
};
struct BatchNormWanted {
  bool dx = true, parameters = true, dresidual = false;  // parameters: gamma and beta
};

// Gradients of batch_norm's inputs. A result takes dy's memory if it was moved here by its only
// owner.
BatchNormGradients batch_norm_backward(Tensor dy, const BatchNormKept& kept,
                                       const BatchNormOptions& options,
                                       const BatchNormWanted& wanted = {});

}  // namespace proxent
