// What gemm and linear share: one product of matrices, with what is done to the sums before they are
// stored.
#pragma once

#include <initializer_list>

#include "cuda/launch.h"
#include "cuda/multiply_in.h"
#include "striate/gemm.h"

namespace striate::cuda {

struct MatrixProduct {
  float* C;
  const float *A, *B;
  GemmShape shape;
  float alpha = 1, beta = 0;
  const float* bias = nullptr;  // of columns
  bool relu = false;
};

/// C = relu(alpha op(A) op(B) + beta C + bias), in the precision that is set. The op is called `name`.
void multiply_matrices(const char* name, std::initializer_list<Op::Size> sizes,
                       const MatrixProduct& product);

/// The same in one arithmetic: in gemm.cu and tensor/gemm.cu.
template <class Math>
void multiply_matrices_in(const char* name, std::initializer_list<Op::Size> sizes,
                          const MatrixProduct& product);
extern template void multiply_matrices_in<Float32>(const char*, std::initializer_list<Op::Size>,
                                                   const MatrixProduct&);
extern template void multiply_matrices_in<Tf32>(const char*, std::initializer_list<Op::Size>,
                                                const MatrixProduct&);
extern template void multiply_matrices_in<Bf16>(const char*, std::initializer_list<Op::Size>,
                                                const MatrixProduct&);

}  // namespace striate::cuda
