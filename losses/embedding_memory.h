// Cross-batch memory (Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020): a batch
// is compared with the embeddings of earlier batches too, which drift slowly enough to serve.
#pragma once

#include "losses/tuples.h"

namespace proxent {

struct MemoryOptions {
  std::int64_t size = 0;   // embeddings kept
  std::int64_t dim = 512;  // D
  std::int64_t start = 0;  // steps before it is used: early embeddings drift fast
};

// A queue of the newest embeddings, newest first. Its state is buffers, which are saved with the
// weights, so that a resumed run goes on with the same memory.
class EmbeddingMemory : public Module {
 public:
  EmbeddingMemory(Module* parent, std::string name, const MemoryOptions& options);

  // compare(), with what is remembered as further references without gradient. Remembered rows are
  // neither positive nor negative before `start` pushes and while a place is empty.
  Comparison compare(const Variable& embeddings, const Tensor& labels) const;
  // Puts a batch's normalised embeddings in front; the oldest fall out. A batch larger than the
  // memory leaves its first rows. Of a row that has no direction (zeros, NaN) the place is empty.
  void push(const Tensor& embeddings, const Tensor& labels);

 private:
  MemoryOptions options_;
  Buffer embeddings_;  // (size, D)
  Buffer labels_;      // (size), f32; -1: empty
  Buffer pushes_;      // (1)
};

}  // namespace proxent
