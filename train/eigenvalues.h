// The spectrum of a symmetric matrix, without its eigenvectors.
#pragma once

#include <cstdint>
#include <vector>

namespace proxent {

// The n eigenvalues of a symmetric matrix (n, n), row-major, in ascending order, each as often as
// its multiplicity. Householder's reduction to tridiagonal form, whose 2 n^3 operations on
// doubles are shared among threads, which change no bit of the result; then the implicit QL method
// with Wilkinson's shift, in the order of n^2 (Golub and Van Loan, Matrix Computations, 8.3). Both
// triangles are read and must be equal. Errors are about the rounding of the largest eigenvalue.
// Throws Error when the size is wrong, an entry is not finite, or QL does not converge.
std::vector<double> symmetric_eigenvalues(std::vector<double> matrix, std::int64_t n);

}  // namespace proxent
