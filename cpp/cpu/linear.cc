// linear: three multiplications, each one call of gemm.
#include "striate/linear.h"

#include <algorithm>

#include "cpu/linear_prepared.h"
#include "cpu/trace.h"
#include "striate/gemm.h"

namespace striate::cpu {

namespace {

Trace traced(const char* op, const LinearShape& s) {
  return {op, {{"N", s.N}, {"C", s.C}, {"K", s.K}}, {.flop = 2.0 * s.N * s.C * s.K}};
}

}  // namespace

void linear_forward(float* y, const float* x, const float* w, const float* b,
                    const LinearShape& s) {
  const Trace trace = traced("linear_forward", s);
  for (int64_t n = 0; b != nullptr && n < s.N; ++n) std::copy_n(b, s.K, y + n * s.K);
  gemm(y, x, w, 1.0f, b == nullptr ? 0.0f : 1.0f,
       {.M = s.N, .N = s.K, .K = s.C, .trans_b = true, .lda = s.C, .ldb = s.C, .ldc = s.K});
}

void linear_backward_data(float* dx, const float* dy, const float* w, const LinearShape& s) {
  const Trace trace = traced("linear_backward_data", s);
  gemm(dx, dy, w, 1.0f, 0.0f, {.M = s.N, .N = s.C, .K = s.K, .lda = s.K, .ldb = s.C, .ldc = s.C});
}

void linear_backward_weight(float* dw, const float* dy, const float* x, const LinearShape& s) {
  linear_accumulate_weight(dw, dy, x, false, s);
}

void linear_backward_bias(float* db, const float* dy, const LinearShape& s) {
  linear_accumulate_bias(db, dy, false, s);
}

}  // namespace striate::cpu
