// Batch normalisation over channels, alone or fused with what follows it.
#pragma once

#include "autograd/module.h"

namespace proxent {

// What a batch norm does while its network trains. Evaluation always uses the running statistics.
enum class BatchNormMode {
  train,  // normalises by the batch, follows it with the running statistics, trains gamma and beta
  eval_stats,  // normalises by the running statistics and leaves them; still trains gamma and beta
  frozen,      // running statistics, and gamma and beta get no gradient
};

// (N, H, W, C) or (N, C), as torch.nn.BatchNorm2d with eps 1e-5 and momentum 0.1.
class BatchNorm2d : public Module {
 public:
  BatchNorm2d(Module* parent, std::string name, std::int64_t channels);

  Parameter weight, bias;  // gamma and beta, (C)
  Buffer running_mean, running_var;

  void set_mode(BatchNormMode mode);
  BatchNormMode mode() const { return mode_; }
  // On: what this returns is made again in backward instead of kept, unless that would take more
  // than two passes over memory, as where the residual of a residual would have to be made. The
  // same bits.
  void remake_output(bool is_on) { remakes_output_ = is_on; }
  // relu(norm(x)) and relu(norm(x) + residual) in one pass over the image. A ModuleObserver sees
  // them as it sees norm(x).
  Variable with_relu(const Variable& x);
  Variable add_relu(const Variable& x, const Variable& residual);

  void initialize(Philox random) override;

 protected:
  Variable forward(const Variable& x) override { return normalize(x, {}, false); }

 private:
  Variable with_what_follows(const Variable& x, const Variable& residual);
  Variable normalize(const Variable& x, const Variable& residual, bool has_relu);
  BatchNormMode mode_ = BatchNormMode::train;
  bool remakes_output_ = false;
};

// Sets the mode of every batch norm below root.
void set_batch_norm_mode(Module& root, BatchNormMode mode);

}  // namespace proxent
