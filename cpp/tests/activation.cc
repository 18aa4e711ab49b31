#include "striate/activation.h"

#include "tests/case.h"

namespace striate::tests {

void activation(Case& test) {
  const int64_t n = test.one_of<int64_t>({0, 1, 5, 33, 1000, 70000});
  const float *x = test.normal(n, true), *dy = test.normal(n);
  const Floats r = test.result(n, [&](float* y) { reference::relu_forward(y, x, n); });
  const Floats t = test.result(n, [&](float* y) { reference::tanh_forward(y, x, n); });
  const Floats s = test.result(n, [&](float* y) { reference::sigmoid_forward(y, x, n); });

  const double atol = rounding(0);
  STRIATE_EXPECT_SAME(test, n, 0, relu_forward(out, x, n));
  STRIATE_EXPECT_SAME(test, n, 0, relu_backward(out, dy, r.data(), n));
  STRIATE_EXPECT_SAME(test, n, atol, tanh_forward(out, x, n));
  STRIATE_EXPECT_SAME(test, n, atol, tanh_backward(out, dy, t.data(), n));
  STRIATE_EXPECT_SAME(test, n, atol, sigmoid_forward(out, x, n));
  STRIATE_EXPECT_SAME(test, n, atol, sigmoid_backward(out, dy, s.data(), n));
}

}  // namespace striate::tests
