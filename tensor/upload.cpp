#include "tensor/upload.h"

#include "tensor/launch.h"

#ifdef PROXENT_CUDA
#include "tensor/cuda/upload.h"
#else
class proxent::Uploads::Gpu {  // never made: there is no such device
 public:
  void push(std::int64_t, const std::vector<Tensor>&) {}
  std::vector<Tensor> pop(std::int64_t) { return {}; }
};
#endif

namespace proxent {

Uploads::Uploads(Device device) {
  if (has_streams(device)) gpu_ = std::make_unique<Gpu>();
}
Uploads::~Uploads() = default;

void Uploads::push(std::vector<Tensor> batch) {
  check(has_room(), "uploads: all ", kSlots, " slots are taken: pop a batch first");
  for (const Tensor& x : batch)
    check(x.device() == Device::cpu, "uploads: expected tensors on the CPU, got ", x, " on ",
          x.device());
  Scope scope("upload");
  if (gpu_)
    gpu_->push(pushed_, batch);
  else
    batches_.push_back(std::move(batch));
  ++pushed_;
}

std::vector<Tensor> Uploads::pop() {
  check(waiting() > 0, "uploads: no batch is waiting");
  ++popped_;
  if (gpu_) return gpu_->pop(popped_ - 1);
  std::vector<Tensor> batch = std::move(batches_.front());
  batches_.pop_front();
  return batch;
}

}  // namespace proxent
