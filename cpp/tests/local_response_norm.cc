#include "striate/local_response_norm.h"

#include "tests/case.h"

namespace striate::tests {

void local_response_norm(Case& test) {
  const LocalResponseNorm s{.N = test.integer(1, 3),
                            .C = test.integer(1, 12),
                            .L = test.integer(1, 150),
                            .size = test.integer(1, 14),
                            .alpha = test.one_of({1e-4, 0.7}),
                            .beta = test.one_of({0.75, 0.5, 0.6}),
                            .k = test.one_of({1.0, 2.0})};
  const int64_t n = s.N * s.C * s.L;
  const float *x = test.normal(n), *dy = test.normal(n);
  STRIATE_EXPECT_SAME(test, n, rounding(s.size), local_response_norm_forward(out, x, s));
  STRIATE_EXPECT_SAME(test, n, rounding(2 * s.size), local_response_norm_backward(out, dy, x, s));
}

}  // namespace striate::tests
