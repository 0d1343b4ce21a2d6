// Numbers that tell how embeddings fill their space: whether they collapse, and how tight and how
// far apart classes are.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

// How much of their space embeddings of length one fill; NaN where there is nothing to average.
struct EmbeddingSpread {
  // exp(H(p)) with p the singular values of the centred embeddings divided by their sum: how many
  // directions are in use, 1 .. D (Roy and Vetterli 2007). NaN when all embeddings are equal.
  double effective_rank = 0;
  // Root of the variance averaged over features: 1 / sqrt(D) when spread evenly, 0 when collapsed.
  double standard_deviation = 0;
  // Share of the variance along each principal direction of the centred embeddings, falling: the
  // eigenvalues of their covariance divided by their sum. Empty when all embeddings are equal.
  std::vector<double> spectrum = {};
};
// Of embeddings (N, D) f32: of at most 512 rows, evenly spaced, so that every evaluation can afford
// it.
EmbeddingSpread spread_of(const Tensor& embeddings);
// What is wrong with embeddings of `dim` features that are nearly equal or lie in few directions,
// and what helps; empty if nothing is.
std::string collapse_in_words(const EmbeddingSpread& spread, std::int64_t dim);

// Of embeddings scaled to length one; NaN where there is nothing to average.
struct EmbeddingDiagnostics : EmbeddingSpread {
  // Cosine distances, as in Roth et al. 2020: the mean over classes of the mean over pairs of
  // different samples of the class; and over pairs of different classes' normalised means.
  double intra = 0, inter = 0;
  double density() const;  // intra / inter; NaN too where the classes' means are equal
  // Mean of |x - y|^2 over all pairs of one class, and log of the mean of exp(-2 |x - y|^2) over
  // all pairs: lower is tighter, and lower is more even (Wang and Isola 2020, alpha = t = 2).
  double alignment = 0, uniformity = 0;
};

// Of embeddings (N, D) f32 with labels (N). The spectrum is taken from at most 10,000 rows, evenly
// spaced; it costs about 2 D^3 operations. Uniformity is taken from at most 5,000 rows.
EmbeddingDiagnostics diagnose_embeddings(const Tensor& embeddings,
                                         std::span<const std::int32_t> labels);

}  // namespace proxent
