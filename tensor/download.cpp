#include "tensor/download.h"

#include "tensor/launch.h"

#ifdef PROXENT_CUDA
#include "tensor/cuda/download.h"
#else
class proxent::Downloads::Gpu {  // never made: there is no such device
 public:
  void push(std::int64_t, const Tensor&) {}
  Tensor pop(std::int64_t) { return {}; }
};
#endif

namespace proxent {

Downloads::Downloads(Device device) : device_(device) {
  if (has_streams(device)) gpu_ = std::make_unique<Gpu>();
}
Downloads::~Downloads() = default;

void Downloads::push(const Tensor& x) {
  check(waiting() < kSlots, "downloads: all ", kSlots, " slots are taken: pop one first");
  check(x.device() == device_, "downloads: expected a tensor on ", device_, ", got ", x, " on ",
        x.device());
  Scope scope("download");
  if (gpu_)
    gpu_->push(pushed_, x);
  else
    tensors_.push_back(x.clone());
  ++pushed_;
}

Tensor Downloads::pop() {
  check(waiting() > 0, "downloads: nothing is waiting");
  ++popped_;
  if (gpu_) return gpu_->pop(popped_ - 1);
  Tensor x = std::move(tensors_.front());
  tensors_.pop_front();
  return x;
}

}  // namespace proxent
