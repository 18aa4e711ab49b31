// gemm: general matrix multiplication, row-major.
//
//   C[M, N] = alpha * op(A)[M, K] * op(B)[K, N] + beta * C[M, N]
//
//   op(A) = A[M, K], or the transpose of A[K, M] if trans_a; op(B) likewise of B[K, N] or B[N, K].
//   lda, ldb, ldc: elements from one row of the stored matrix to the next.
//   beta == 0 writes C without reading it, so it may be uninitialised. K == 0 leaves beta * C.
//   C overlaps neither A nor B.
#pragma once

#include <cstdint>

namespace striate {

struct GemmShape {
  int64_t M, N, K;
  bool trans_a = false, trans_b = false;
  int64_t lda, ldb, ldc;
};

namespace reference {
template <class T>
void gemm(T* C, const T* A, const T* B, T alpha, T beta, const GemmShape& s);
}  // namespace reference

namespace cpu {
void gemm(float* C, const float* A, const float* B, float alpha, float beta, const GemmShape& s);
}  // namespace cpu

namespace cuda {
void gemm(float* C, const float* A, const float* B, float alpha, float beta, const GemmShape& s);
}  // namespace cuda

}  // namespace striate
