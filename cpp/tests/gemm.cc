#include "striate/gemm.h"

#include <algorithm>
#include <limits>

#include "tests/case.h"

namespace striate::tests {

void gemm(Case& test) {
  GemmShape s{.M = test.one_of<int64_t>({1, 2, 7, 30, 70}),
              .N = test.one_of<int64_t>({1, 3, 16, 50, 130}),
              .K = test.one_of<int64_t>({0, 1, 5, 40, 600}),
              .trans_a = test.coin(),
              .trans_b = test.coin(),
              .lda = 0,
              .ldb = 0,
              .ldc = 0};
  s.lda = (s.trans_a ? s.M : s.K) + test.integer(0, 3);
  s.ldb = (s.trans_b ? s.K : s.N) + test.integer(0, 3);
  s.ldc = s.N + test.integer(0, 3);
  const float alpha = test.one_of({1.0f, -0.5f}), beta = test.one_of({0.0f, 1.0f, 0.5f});
  const float* A = test.normal((s.trans_a ? s.K : s.M) * s.lda);
  const float* B = test.normal((s.trans_b ? s.N : s.K) * s.ldb);
  const int64_t n = s.M * s.ldc;
  float* C = test.normal(n);
  if (beta == 0) std::fill_n(C, n, std::numeric_limits<float>::quiet_NaN());  // is not read
  const auto on_a_copy_of_C = [&](auto function) {
    return [&, function](float* out) {
      std::copy_n(C, n, out);
      function(out);
    };
  };
  const auto expected = test.result(
      n, on_a_copy_of_C([&](float* out) { reference::gemm(out, A, B, alpha, beta, s); }));
  test.expect("gemm", expected, rounding(s.K),
              on_a_copy_of_C([&](float* out) { cpu::gemm(out, A, B, alpha, beta, s); }));
}

}  // namespace striate::tests
