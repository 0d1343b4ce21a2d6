#include "tensor/tensor.h"

#include "tensor/copy.h"
#include "tensor/memory.h"

namespace proxent {
namespace {
// The bytes of `from` to `to`, one of which is on the CPU and the other on `device`.
void copy_across(const Tensor& from, Tensor& to) {
  check(from.device() != Device::meta, "tensor: ", from, " on meta has no elements to copy");
  const bool is_upload = from.device() == Device::cpu;
  launch(is_upload ? "upload" : "download", is_upload ? to.device() : from.device(),
         [&](auto device) {
           if (is_upload)
             detail::copy_in(device, to.raw(), from.raw(), from.bytes());
           else
             detail::copy_out(device, to.raw(), from.raw(), from.bytes());
         });
}
}  // namespace

Tensor::Tensor(Shape shape, DType dtype, Device device)
    : storage_(std::make_shared<Storage>(device, shape.numel() * size_of(dtype))),
      shape_(shape),
      dtype_(dtype) {}

Tensor Tensor::full(Shape shape, DType dtype, double value, Device device) {
  Tensor tensor(shape, dtype, device);
  launch("fill", device, [&](auto d) { kernel::fill(d, value, tensor); });
  return tensor;
}

Tensor Tensor::reshape(Shape shape) const {
  check(shape.numel() == numel(), "reshape: ", shape_, " has ", numel(), " elements, ", shape,
        " has ", shape.numel());
  return view(0, shape);
}

Tensor Tensor::slice(std::int64_t first, std::int64_t count) const {
  check(shape_.rank() > 0 && first >= 0 && count >= 0 && first + count <= dim(0), "slice: entries ",
        first, " to ", first + count, " of a tensor ", shape_);
  const std::int64_t row = dim(0) == 0 ? 0 : numel() / dim(0);
  return view(first * row, shape_.with(0, count));
}

Tensor Tensor::view(std::int64_t first, Shape shape) const {
  check(first >= 0 && first + shape.numel() <= numel(), "view: elements ", first, " to ",
        first + shape.numel(), " of a tensor with ", numel());
  Tensor piece = *this;
  piece.offset_ += first * size_of(dtype_);
  piece.shape_ = shape;
  return piece;
}

Tensor Tensor::clone() const {
  Tensor copy(shape_, dtype_, device());
  launch("copy", device(), [&](auto d) { kernel::copy(d, *this, copy); });
  return copy;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor converted(shape_, dtype, device());
  launch("convert", device(), [&](auto d) { kernel::convert(d, *this, converted); });
  return converted;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor moved(shape_, dtype_, device);
  copy_across(*this, moved);
  return moved;
}

void Tensor::fill(double value) {
  launch("fill", device(), [&](auto d) { kernel::fill(d, value, *this); });
  mark_edited();
}

void Tensor::copy_from(const Tensor& from) {
  check(shape_ == from.shape_ && (dtype_ == from.dtype_ || device() == from.device()),
        "copy_from: tensors differ, ", *this, " on ", device(), " and ", from, " on ",
        from.device());
  if (dtype_ != from.dtype_)
    launch("convert", device(), [&](auto d) { kernel::convert(d, from, *this); });
  else if (device() == from.device())
    launch("copy", device(), [&](auto d) { kernel::copy(d, from, *this); });
  else
    copy_across(from, *this);
  mark_edited();
}

double Tensor::item() const {
  check(numel() == 1, "item: expected one element, got ", *this);
  return to(Device::cpu).to(DType::f64).data<double>()[0];
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  return out << tensor.shape() << " " << tensor.dtype();
}

void check_same(std::string_view op, const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape() && a.dtype() == b.dtype() && a.device() == b.device(), op,
        ": tensors differ, ", a, " on ", a.device(), " and ", b, " on ", b.device());
}

}  // namespace proxent
