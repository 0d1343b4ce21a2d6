#include "autograd/variable.h"

#include "tensor/pointwise.h"
#include "tensor/reduce.h"

namespace proxent {

void GradientCell::accumulate(std::string_view op, Tensor g) {
  check(g.is_defined() && (g.dtype() == dtype_ || is_half(g.dtype())), op, ": gradient should be ",
        shape_, " ", dtype_, ", got ", g);
  check(g.device() == device_, op, ": gradient should be on ", device_, ", got one on ",
        g.device());
  g = sum_to(g, shape_);
  if (gradient_.is_defined() || !home_.is_defined()) g = g.to(dtype_);
  if (!gradient_.is_defined()) {
    if (home_.is_defined()) {
      home_.copy_from(g);
      g = home_;
    }
    gradient_ = std::move(g);
  } else if (own_sum(g.dtype())) {
    add_into(gradient_, g);
  } else {
    gradient_ = add(gradient_, g);
  }
}

Tensor* GradientCell::own_sum(DType dtype) {
  if (!gradient_.is_defined() || gradient_.dtype() != dtype) return nullptr;
  return home_.is_defined() || gradient_.storage().use_count() == 1 ? &gradient_ : nullptr;
}

Variable Variable::leaf(Tensor value) {
  Variable variable(std::move(value));
  variable.cell_ = std::make_shared<GradientCell>(variable.value());
  return variable;
}

const Tensor& Variable::gradient() const {
  check(wants_gradient(), "gradient: this variable is a constant");
  return cell_->gradient();
}

void Variable::clear_gradient() {
  if (cell_) cell_->clear();
}

}  // namespace proxent
