#include "tensor/dtype.h"

namespace proxent {

std::ostream& operator<<(std::ostream& out, DType dtype) {
  switch (dtype) {
    case DType::f32:
      return out << "f32";
    case DType::f64:
      return out << "f64";
    case DType::bf16:
      return out << "bf16";
    case DType::f16:
      return out << "f16";
    case DType::i32:
      return out << "i32";
    case DType::u8:
      return out << "u8";
    case DType::i64:
      return out << "i64";
  }
  return out << "unknown";
}

}  // namespace proxent
