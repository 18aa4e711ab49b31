// linear: three multiplications, with the bias and ReLU where sums are stored, and a sum of rows.
#include "cuda/column_sums.cuh"
#include "cuda/gemm.h"
#include "striate/linear.h"

namespace striate::cuda {
namespace {

void multiply(const char* op, const LinearShape& s, const MatrixProduct& product) {
  multiply_matrices(op, {{"N", s.N}, {"C", s.C}, {"K", s.K}}, product);
}

MatrixProduct forward(float* y, const float* x, const float* w, const float* b,
                      const LinearShape& s) {
  return {
      .C = y,
      .A = x,
      .B = w,
      .shape = {.M = s.N, .N = s.K, .K = s.C, .trans_b = true, .lda = s.C, .ldb = s.C, .ldc = s.K},
      .bias = b};
}

}  // namespace

void linear_forward(float* y, const float* x, const float* w, const float* b,
                    const LinearShape& s) {
  multiply("linear_forward", s, forward(y, x, w, b, s));
}

void linear_relu_forward(float* y, const float* x, const float* w, const float* b,
                         const LinearShape& s) {
  MatrixProduct product = forward(y, x, w, b, s);
  product.relu = true;
  multiply("linear_relu_forward", s, product);
}

void linear_backward_data(float* dx, const float* dy, const float* w, const LinearShape& s) {
  multiply("linear_backward_data", s,
           {.C = dx,
            .A = dy,
            .B = w,
            .shape = {.M = s.N, .N = s.C, .K = s.K, .lda = s.K, .ldb = s.C, .ldc = s.C}});
}

void linear_backward_weight(float* dw, const float* dy, const float* x, const LinearShape& s) {
  multiply(
      "linear_backward_weight", s,
      {.C = dw,
       .A = dy,
       .B = x,
       .shape = {
           .M = s.K, .N = s.C, .K = s.N, .trans_a = true, .lda = s.K, .ldb = s.C, .ldc = s.C}});
}

void linear_backward_bias(float* db, const float* dy, const LinearShape& s) {
  if (s.K == 0) return;
  const Op op("linear_backward_bias", {{"N", s.N}, {"K", s.K}}, {.bytes = 4.0 * s.N * s.K});
  column_sums(op, db, dy, s.N, s.K);
}

}  // namespace striate::cuda
