// Modules one after the other, named "0", "1", ... as torch.nn.Sequential.
#pragma once

#include <memory>
#include <vector>

#include "autograd/module.h"

namespace proxent {

class Sequence : public Module {
 public:
  using Module::Module;

  // Appends M(this, "<number>", arguments...).
  template <class M, class... Arguments>
  M& append(Arguments&&... arguments) {
    auto item = std::make_unique<M>(this, std::to_string(items_.size()),
                                    std::forward<Arguments>(arguments)...);
    M& appended = *item;
    items_.push_back(std::move(item));
    return appended;
  }

 protected:
  Variable forward(const Variable& x) override {
    Variable y = x;
    for (const auto& item : items_) y = (*item)(y);
    return y;
  }

 private:
  std::vector<std::unique_ptr<Module>> items_;
};

}  // namespace proxent
