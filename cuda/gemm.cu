// gemm: see multiply.h for how it is cut, tile.cuh for how a tile is made.
#include "cuda/float32.cuh"
#include "cuda/gemm.cuh"
#include "cuda/hopper/gemm.h"
#include "striate/gemm.h"

namespace striate::cuda {

template void multiply_matrices_in<Float32>(const char*, std::initializer_list<Op::Size>,
                                            const MatrixProduct&);

void multiply_matrices(const char* name, std::initializer_list<Op::Size> sizes,
                       const MatrixProduct& product) {
  const GemmShape& s = product.shape;
  if (s.M == 0 || s.N == 0) return;
  const Precision precision = precision_for(std::min(s.M, s.N));
  if (hopper_gemm_takes(s, product.A, product.B, precision)) {
    const Op op(name, sizes, {.flop = 2.0 * s.M * s.N * s.K}, "hopper");
    return hopper_gemm(product.C, product.A, product.B, product.bias, product.relu, product.alpha,
                       product.beta, s, precision);
  }
  multiply_in(precision, [&]<class Math>(std::type_identity<Math>) {
    multiply_matrices_in<Math>(name, sizes, product);
  });
}

void gemm(float* C, const float* A, const float* B, float alpha, float beta, const GemmShape& s) {
  multiply_matrices("gemm", {{"M", s.M}, {"N", s.N}, {"K", s.K}},
                    {.C = C, .A = A, .B = B, .shape = s, .alpha = alpha, .beta = beta});
}

}  // namespace striate::cuda
