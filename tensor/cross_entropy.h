// The classification loss: softmax, logarithm and mean in one pass over the logits.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

struct CrossEntropyOptions {
  std::int64_t ignore_index = -100;  // rows with this label count nothing
};

namespace kernel {
// log_sum (rows) = log sum_j exp(logits_j); loss () = mean of log_sum - logits[label] over the rows
// that count, 0 if none does; count () = how many do.
KERNEL(cross_entropy, const Tensor& logits, const Tensor& labels, std::int64_t ignore_index,
       Tensor& log_sum, Tensor& loss, Tensor& count);
// dlogits = dy / count (exp(logits - log_sum) - onehot(label)); 0 in rows that do not count.
KERNEL(cross_entropy_backward, const Tensor& dy, const Tensor& logits, const Tensor& labels,
       std::int64_t ignore_index, const Tensor& log_sum, const Tensor& count, Tensor& dlogits);
}  // namespace kernel

struct CrossEntropy {
  Tensor loss;            // ()
  Tensor log_sum, count;  // for backward
};
// logits (B, C) and i32 labels (B) -> mean over the rows, as torch.nn.functional.cross_entropy; but
// 0 where no row counts (PyTorch: NaN). Throws if a label is neither in 0 .. C-1 nor ignore_index;
// on the GPU only under set_gpu_synchronous(true), as looking at labels means to wait. Logits of
// thousands lose digits: the loss is a difference of two numbers of their size.
CrossEntropy cross_entropy(const Tensor& logits, const Tensor& labels,
                           CrossEntropyOptions options = {});
Tensor cross_entropy_backward(const Tensor& dy, const Tensor& logits, const Tensor& labels,
                              const CrossEntropy& forward, CrossEntropyOptions options = {});

}  // namespace proxent
