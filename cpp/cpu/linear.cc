// linear: three multiplications, each one call of gemm.
#include "striate/linear.h"

#include <algorithm>

#include "cpu/isa.h"
#include "cpu/parallel.h"
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
  const Trace trace = traced("linear_backward_weight", s);
  gemm(dw, dy, x, 1.0f, 0.0f,
       {.M = s.K, .N = s.C, .K = s.N, .trans_a = true, .lda = s.K, .ldb = s.C, .ldc = s.C});
}

void linear_backward_bias(float* db, const float* dy, const LinearShape& s) {
  const Trace trace("linear_backward_bias", {{"N", s.N}, {"K", s.K}}, {.bytes = 4.0 * s.N * s.K});
  const Kernels& k = kernels();
  parallel_for(s.K, streaming_grain(4 * std::max<int64_t>(s.N, 1)),
               [&](int64_t begin, int64_t end) {
                 std::fill(db + begin, db + end, 0.0f);
                 for (int64_t n = 0; n < s.N; ++n)
                   k.add(db + begin, dy + n * s.K + begin, end - begin);
               });
}

}  // namespace striate::cpu
