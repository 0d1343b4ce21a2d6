// Every differentiable op, one list. Each computes as its namesake in tensor/ and records its
// derivative; any Tensor argument is a constant.
#pragma once

#include "autograd/tape.h"
#include "tensor/batch_norm.h"
#include "tensor/conv.h"
#include "tensor/cross_entropy.h"
#include "tensor/layer_norm.h"
#include "tensor/matmul.h"
#include "tensor/pointwise.h"
#include "tensor/pooling.h"
#include "tensor/reduce.h"

namespace proxent {

// tensor/pointwise.def
#define UNARY(name, keeps, y, slope) Variable name(const Variable& x);
#define UNARY_P(name, keeps, y, slope) Variable name(const Variable& x, double p);
#define BINARY(name, y, a_slope, a_keeps, b_slope, b_keeps) \
  Variable name(const Variable& a, const Variable& b);
#include "tensor/pointwise.def"

inline Variable operator-(const Variable& x) { return neg(x); }
inline Variable operator+(const Variable& a, const Variable& b) { return add(a, b); }
inline Variable operator-(const Variable& a, const Variable& b) { return sub(a, b); }
inline Variable operator*(const Variable& a, const Variable& b) { return mul(a, b); }
inline Variable operator/(const Variable& a, const Variable& b) { return div(a, b); }
inline Variable operator+(const Variable& x, double p) { return shift(x, p); }
inline Variable operator-(const Variable& x, double p) { return shift(x, -p); }
inline Variable operator*(double p, const Variable& x) { return scale(x, p); }
inline Variable operator*(const Variable& x, double p) { return scale(x, p); }
inline Variable operator/(const Variable& x, double p) { return scale(x, 1 / p); }

// tensor/reduce.h
Variable sum_to(const Variable& x, const Shape& shape);
Variable broadcast_to(const Variable& x, const Shape& shape);
Variable sum(const Variable& x);   // all elements, shape ()
Variable mean(const Variable& x);  // all elements, shape ()

Variable sum_last(const Variable& x);   // along the last axis, which goes away
Variable mean_last(const Variable& x);  // the same
Variable max_last(const Variable& x);   // the same; of equal values the first gets the gradient

// Same elements, another shape.
Variable reshape(const Variable& x, const Shape& shape);

// The same values rounded to another dtype (torch.Tensor.to); x itself if it has it. The gradient
// comes back in x's: this is how f32 weights serve bf16 activations.
Variable cast(const Variable& x, DType dtype);

// tensor/matmul.h
Variable matmul(const Variable& a, const Variable& b, MatmulOptions options = {});

// tensor/normalize.h
Variable normalize_rows(const Variable& x);

// tensor/softmax.h
Variable softmax(const Variable& x);
Variable log_softmax(const Variable& x);
Variable log_sum_exp(const Variable& x);

// tensor/layer_norm.h; gamma and beta may be undefined.
Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta,
                    LayerNormOptions options = {});

// tensor/cross_entropy.h
Variable cross_entropy(const Variable& logits, const Tensor& labels,
                       CrossEntropyOptions options = {});

// tensor/concat.h
Variable concatenate(const std::vector<Variable>& parts, int axis);
// Rows first .. first+count of x (R, ...); shares x's memory.
Variable slice_rows(const Variable& x, std::int64_t first, std::int64_t count);

// tensor/gather.h
Variable gather_rows(const Variable& x, const Tensor& index);
Variable pick(const Variable& x, const Tensor& index);

// tensor/conv.h
Variable conv2d(const Variable& x, const Variable& w, const Conv2dOptions& options = {});

// tensor/pooling.h
Variable max_pool2d(const Variable& x, const Pool2dOptions& options = {});
Variable avg_pool2d(const Variable& x, const Pool2dOptions& options = {});
Variable global_avg_pool(const Variable& x);
Variable global_max_pool(const Variable& x);
Variable gem_pool(const Variable& x, const Variable& p);

// tensor/batch_norm.h. A default residual is none.
Variable batch_norm(const Variable& x, const Variable& gamma, const Variable& beta,
                    Tensor& running_mean, Tensor& running_var, const BatchNormOptions& options,
                    const Variable& residual = {});

}  // namespace proxent
