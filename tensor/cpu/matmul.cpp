#include "tensor/matmul.h"

#include <algorithm>
#include <vector>

#include "tensor/cpu/panel_product.h"
#include "tensor/onednn.h"
#include "tensor/parallel.h"
#ifdef PROXENT_ONEDNN
#include "tensor/onednn/matmul.h"
#endif

namespace proxent::kernel {
namespace {

// op(x) as it lies: one step to the next row, one to the next column.
template <class T>
struct Matrix {
  const T* data;
  std::int64_t row_step, column_step;
};
template <class T>
Matrix<T> matrix(const Tensor& x, bool is_transposed) {
  return is_transposed ? Matrix<T>{x.data<T>(), 1, x.dim(1)} : Matrix<T>{x.data<T>(), x.dim(1), 1};
}

// Rows [depth_first, depth_first + depth) of the panel of b that begins at `column`, zeros beside
// b's last column.
template <class T>
void pack(const Matrix<T>& b, std::int64_t column, std::int64_t columns, std::int64_t depth_first,
          std::int64_t depth, T* panel) {
  for (std::int64_t i = depth_first; i < depth_first + depth; ++i, panel += kPanelColumns<T>) {
    const T* row = b.data + i * b.row_step + column * b.column_step;
    for (std::int64_t j = 0; j < columns; ++j) panel[j] = row[j * b.column_step];
    std::fill(panel + columns, panel + kPanelColumns<T>, T(0));
  }
}

// y (m, n) is cut into blocks of one panel's width, one thread each (Goto and van de Geijn 2008).
// The order of summation depends on k alone.
template <class T>
void multiply(Matrix<T> a, Matrix<T> b, T* y, std::int64_t m, std::int64_t n, std::int64_t k) {
  constexpr std::int64_t kRows = 256, kDepth = 512;  // a panel and the rows beside it stay in L2
  const std::int64_t down = (m + kRows - 1) / kRows;
  parallel_ranges(down * panels<T>(n), 1, [&](std::int64_t first, std::int64_t last) {
    std::vector<T> panel(kDepth * kPanelColumns<T>);
    for (std::int64_t block = first; block < last; ++block) {
      const std::int64_t row = block % down * kRows, column = block / down * kPanelColumns<T>;
      const std::int64_t rows = std::min(kRows, m - row),
                         columns = std::min(kPanelColumns<T>, n - column);
      for (std::int64_t i = 0; i < k; i += kDepth) {
        const std::int64_t depth = std::min(kDepth, k - i);
        pack(b, column, columns, i, depth, panel.data());
        const T* corner = a.data + row * a.row_step + i * a.column_step;
        panel_product(Strided<T>{corner, a.row_step, a.column_step}, rows, panel.data(), depth,
                      [&](std::int64_t r, const T* sums) {
                        T* out = y + (row + r) * n + column;
                        for (std::int64_t j = 0; j < columns; ++j)
                          out[j] = (i > 0 ? out[j] : T(0)) + sums[j];
                      });
      }
    }
  });
}
}  // namespace

void matmul(Cpu, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, Tensor& y) {
  const std::int64_t m = y.dim(0), n = y.dim(1), k = a.dim(transpose_a ? 0 : 1);
  if (m * n == 0) return;
  visit_float(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (k == 0) return void(std::fill_n(y.data<T>(), y.numel(), T(0)));
#ifdef PROXENT_ONEDNN
    if (std::is_same_v<T, float> && uses_onednn())
      return onednn::matmul(a, transpose_a, b, transpose_b, y);
#endif
    multiply<T>(matrix<T>(a, transpose_a), matrix<T>(b, transpose_b), y.data<T>(), m, n, k);
  });
}

}  // namespace proxent::kernel
