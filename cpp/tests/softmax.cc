#include "striate/softmax.h"

#include <algorithm>

#include "tests/case.h"

namespace striate::tests {

void softmax(Case& test) {
  SoftmaxSizes s{.outer = 0,
                 .classes = test.one_of<int64_t>({1, 2, 10, 17, 100, 1000}),
                 .inner = test.one_of<int64_t>({1, 1, 3, 37})};
  s.outer = test.integer(0, std::clamp<int64_t>(12000 / (s.classes * s.inner), 1, 600));
  const int64_t n = s.outer * s.classes * s.inner;
  const float *x = test.normal(n), *dy = test.normal(n);
  const auto y = test.result(n, [&](float* out) { reference::softmax_forward(out, x, s); });
  const auto log_y = test.result(n, [&](float* out) { reference::log_softmax_forward(out, x, s); });
  const double atol = rounding(s.classes);
  STRIATE_EXPECT_SAME(test, n, atol, softmax_forward(out, x, s));
  STRIATE_EXPECT_SAME(test, n, atol, softmax_backward(out, dy, y.data(), s));
  STRIATE_EXPECT_SAME(test, n, atol, log_softmax_forward(out, x, s));
  STRIATE_EXPECT_SAME(test, n, atol, log_softmax_backward(out, dy, log_y.data(), s));
}

}  // namespace striate::tests
