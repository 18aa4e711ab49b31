#include "striate/adaptive_avg_pool2d.h"

#include "tests/case.h"

namespace striate::tests {

void adaptive_avg_pool2d(Case& test) {
  const AdaptiveAvgPool2dShape s{.N = test.integer(0, 3),
                                 .C = test.integer(1, 7),
                                 .H = test.integer(1, 20),
                                 .W = test.integer(1, 40),
                                 .P = test.integer(1, 9),
                                 .Q = test.integer(1, 20)};
  const int64_t inputs = s.N * s.C * s.H * s.W, outputs = s.N * s.C * s.P * s.Q;
  const float *x = test.normal(inputs), *dy = test.normal(outputs);
  STRIATE_EXPECT_SAME(test, outputs, rounding(1), adaptive_avg_pool2d_forward(out, x, s));
  STRIATE_EXPECT_SAME(test, inputs, rounding(25), adaptive_avg_pool2d_backward(out, dy, s));
}

}  // namespace striate::tests
