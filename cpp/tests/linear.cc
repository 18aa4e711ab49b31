#include "striate/linear.h"

#include "tests/case.h"

namespace striate::tests {

void linear(Case& test) {
  const LinearShape s{.N = test.one_of<int64_t>({1, 2, 7, 33}),
                      .C = test.one_of<int64_t>({1, 3, 84, 400}),
                      .K = test.one_of<int64_t>({1, 10, 33, 120})};
  const float *x = test.normal(s.N * s.C), *w = test.normal(s.K * s.C);
  const float *dy = test.normal(s.N * s.K), *b = test.coin() ? test.normal(s.K) : nullptr;
  STRIATE_EXPECT_SAME(test, s.N * s.K, rounding(s.C), linear_forward(out, x, w, b, s));
  STRIATE_EXPECT_SAME(test, s.N * s.C, rounding(s.K), linear_backward_data(out, dy, w, s));
  STRIATE_EXPECT_SAME(test, s.K * s.C, rounding(s.N), linear_backward_weight(out, dy, x, s));
  STRIATE_EXPECT_SAME(test, s.K, rounding(s.N), linear_backward_bias(out, dy, s));
}

}  // namespace striate::tests
