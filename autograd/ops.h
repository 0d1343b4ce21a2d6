// Every differentiable op, one list. Each computes as its namesake in tensor/ and records its
// derivative; any Tensor argument is a constant.
#pragma once

#include "autograd/tape.h"
#include "tensor/matmul.h"
#include "tensor/pointwise.h"
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

// Same elements, another shape.
Variable reshape(const Variable& x, const Shape& shape);

// tensor/matmul.h
Variable matmul(const Variable& a, const Variable& b, MatmulOptions options = {});

// tensor/normalize.h
Variable normalize_rows(const Variable& x);

// tensor/softmax.h
Variable softmax(const Variable& x);
Variable log_softmax(const Variable& x);
Variable log_sum_exp(const Variable& x);

// tensor/gather.h
Variable gather_rows(const Variable& x, const Tensor& index);
Variable pick(const Variable& x, const Tensor& index);

}  // namespace proxent
