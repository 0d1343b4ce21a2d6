#include "train/eigenvalues.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tensor/check.h"
#include "tensor/parallel.h"

namespace proxent {
namespace {

constexpr std::int64_t kGrain = 1 << 17;  // elements worth waking a thread for

// Diagonal and sub-diagonal of a similar tridiagonal matrix; a's content is used up.
struct Tridiagonal {
  std::vector<double> diagonal, below;
};

// Step k reflects by H = 1 - b v v^T so that column k ends below the sub-diagonal; on the rest A,
// H A H = A - v w^T - w v^T with p = b A v, w = p - (b / 2)(p . v) v.
Tridiagonal tridiagonal_form(std::vector<double>& a, std::int64_t n) {
  Tridiagonal result{std::vector<double>(n), std::vector<double>(std::max<std::int64_t>(n, 1) - 1)};
  std::vector<double> v(n), w(n);
  for (std::int64_t k = 0; k + 1 < n; ++k) {
    const std::int64_t first = k + 1, grain = 1 + kGrain / (n - k);
    std::copy(&a[k * n + first], &a[k * n] + n, &v[first]);
    const double length = std::sqrt(std::inner_product(&v[first], v.data() + n, &v[first], 0.0));
    const double kept = v[first] > 0 ? -length : length;
    result.diagonal[k] = a[k * n + k];
    result.below[k] = kept;
    if (length == 0) continue;
    v[first] -= kept;
    const double b = 1 / (length * (length + std::abs(v[first] + kept)));
    parallel_for(n - first, grain, [&](std::int64_t i) {
      const double* row = &a[(first + i) * n];
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = first; j < n; ++j) sum += row[j] * v[j];
      w[first + i] = b * sum;
    });
    const double along = b / 2 * std::inner_product(&v[first], v.data() + n, &w[first], 0.0);
    for (std::int64_t i = first; i < n; ++i) w[i] -= along * v[i];
    parallel_for(n - first, grain, [&](std::int64_t i) {
      double* row = &a[(first + i) * n];
      const double vi = v[first + i], wi = w[first + i];
      for (std::int64_t j = first; j < n; ++j) row[j] -= vi * w[j] + wi * v[j];
    });
  }
  if (n > 0) result.diagonal[n - 1] = a[n * n - 1];
  return result;
}

// One QL sweep with Wilkinson's shift over rows first .. last of an unreduced block.
void ql_sweep(std::vector<double>& d, std::vector<double>& e, std::int64_t first,
              std::int64_t last) {
  const double half = (d[first + 1] - d[first]) / (2 * e[first]);
  double g = d[last] - d[first] + e[first] / (half + std::copysign(std::hypot(half, 1.0), half));
  double sine = 1, cosine = 1, p = 0;
  for (std::int64_t i = last - 1; i >= first; --i) {
    const double f = sine * e[i], b = cosine * e[i];
    const double r = std::hypot(f, g);
    if (i + 1 < last) e[i + 1] = r;
    if (r == 0) {  // the block falls apart here
      d[i + 1] -= p;
      return;
    }
    sine = f / r;
    cosine = g / r;
    g = d[i + 1] - p;
    const double turn = (d[i] - g) * sine + 2 * cosine * b;
    p = sine * turn;
    d[i + 1] = g + p;
    g = cosine * turn - b;
  }
  d[first] -= p;
  e[first] = g;
}

}  // namespace

std::vector<double> symmetric_eigenvalues(std::vector<double> matrix, std::int64_t n) {
  check(n >= 0 && std::ssize(matrix) == n * n, "symmetric_eigenvalues: expected ", n, " x ", n,
        " entries, got ", matrix.size());
  for (const double entry : matrix)
    check(std::isfinite(entry), "symmetric_eigenvalues: an entry is ", entry);
  auto [d, e] = tridiagonal_form(matrix, n);
  constexpr int kMaxSweeps = 60;  // two or three per eigenvalue are usual
  for (std::int64_t first = 0; first + 1 < n; ++first)
    for (int sweep = 0;; ++sweep) {
      std::int64_t last = first;
      while (last + 1 < n && std::abs(e[last]) > std::numeric_limits<double>::epsilon() *
                                                     (std::abs(d[last]) + std::abs(d[last + 1])))
        ++last;
      if (last == first) break;
      check(sweep < kMaxSweeps, "symmetric_eigenvalues: no convergence after ", kMaxSweeps,
            " sweeps");
      ql_sweep(d, e, first, last);
      if (last + 1 < n) e[last] = 0;
    }
  std::sort(d.begin(), d.end());
  return d;
}

}  // namespace proxent
