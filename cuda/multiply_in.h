// Which arithmetic a product is made in.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/precision.h"

namespace striate::cuda {

/// Arithmetics (float32.cuh, tensor/tensor_core.cuh).
struct Float32;
struct Tf32;
struct Bf16;

/// The precision that is set, except where fewer than 9 rows or columns of sums would leave tensor
/// cores idle.
inline Precision precision_for(int64_t rows) {
  const Precision set = precision();
  if (set == Precision::float32) return set;
  check_has(set);
  return rows > 8 ? set : Precision::float32;
}

/// call(std::type_identity<Math>{}) for the arithmetic of a precision.
template <class Call>
void multiply_in(Precision precision, const Call& call) {
  switch (precision) {
    case Precision::float32:
      return call(std::type_identity<Float32>{});
    case Precision::tf32:
      return call(std::type_identity<Tf32>{});
    case Precision::bf16:
      return call(std::type_identity<Bf16>{});
  }
}

}  // namespace striate::cuda
