// Tensor: a shared piece of storage with a shape and an element type. Always contiguous, row-major:
// reshape and slice share memory, everything else copies. Images are NHWC, weights KRSC.
#pragma once

#include <memory>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/storage.h"

namespace proxent {

class Tensor {
 public:
  Tensor() = default;  // no storage; is_defined() is false
  // Uninitialised memory. Throws OutOfMemory.
  Tensor(Shape shape, DType dtype, Device device = Device::cpu);
  static Tensor full(Shape shape, DType dtype, double value, Device device = Device::cpu);
  static Tensor zeros(Shape shape, DType dtype, Device device = Device::cpu) {
    return full(shape, dtype, 0.0, device);
  }
  // A CPU tensor with the given elements, as many as the shape has; to(Device) takes it elsewhere.
  template <class T>
  static Tensor from(Shape shape, const std::vector<T>& elements);

  bool is_defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(int i) const { return shape_[i]; }
  std::int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device() : Device::cpu; }
  std::int64_t bytes() const { return numel() * size_of(dtype_); }
  const std::shared_ptr<Storage>& storage() const { return storage_; }

  // The elements, in the device's memory: only kernels of that device may read through the pointer.
  // T must be the dtype's type.
  template <class T>
  T* data() {
    return const_cast<T*>(std::as_const(*this).data<T>());
  }
  template <class T>
  const T* data() const {
    check(kDType<T> == dtype_, "tensor: holds ", dtype_, ", asked for ", kDType<T>);
    return reinterpret_cast<const T*>(raw());
  }
  std::byte* raw() { return storage_ ? storage_->data() + offset_ : nullptr; }
  const std::byte* raw() const { return storage_ ? storage_->data() + offset_ : nullptr; }

  // Same elements, another shape; shares memory.
  Tensor reshape(Shape shape) const;
  // Entries first .. first+count of dimension 0; shares memory.
  Tensor slice(std::int64_t first, std::int64_t count) const;
  // The flat elements first .. first+shape.numel() under a new shape; shares memory.
  Tensor view(std::int64_t first, Shape shape) const;
  Tensor clone() const;
  // Converted elements, rounded as C++ does (halves: to even); itself if the dtype is the same.
  Tensor to(DType dtype) const;
  // A copy on that device; itself if it is there already. Waits only for copies to the host.
  Tensor to(Device device) const;
  // Sets every element. Counts as an in-place edit.
  void fill(double value);
  // Copies the elements of `from` (same shape) here: from any device if the dtypes are the same,
  // else from this one, converted as to(DType) does. Counts as an in-place edit.
  void copy_from(const Tensor& from);
  // The only element, as a double, on the host.
  double item() const;
  // All elements, converted, on the host.
  template <class T>
  std::vector<T> to_vector() const;
  // Call after writing into a tensor that others may have seen.
  void mark_edited() { storage_->mark_edited(); }

 private:
  std::shared_ptr<Storage> storage_;
  std::int64_t offset_ = 0;  // bytes
  Shape shape_{0};
  DType dtype_ = DType::f32;
};

// "(3, 4) f32", for error messages.
std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

// Throws unless both have the same shape, dtype and device; `op` opens the message.
void check_same(std::string_view op, const Tensor& a, const Tensor& b);

template <class T>
Tensor Tensor::from(Shape shape, const std::vector<T>& elements) {
  check(shape.numel() == static_cast<std::int64_t>(elements.size()), "tensor: shape ", shape,
        " needs ", shape.numel(), " elements, got ", elements.size());
  Tensor tensor(shape, kDType<T>);
  std::copy(elements.begin(), elements.end(), tensor.data<T>());
  return tensor;
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  const Tensor same = to(Device::cpu).to(kDType<T>);
  return std::vector<T>(same.data<T>(), same.data<T>() + same.numel());
}

}  // namespace proxent
