#include "striate/pool2d.h"

#include <algorithm>

#include "tests/case.h"

namespace striate::tests {
namespace {

Pool2dShape draw_shape(Case& test, int64_t most_dilation) {
  Pool2dShape s{};
  s.N = test.integer(0, 2), s.C = test.integer(1, 9);
  s.R = test.integer(1, 5), s.S = test.integer(1, 5);
  s.stride_h = test.integer(1, 3), s.stride_w = test.integer(1, 3);
  s.top = s.bottom = test.integer(0, s.R / 2), s.left = s.right = test.integer(0, s.S / 2);
  s.dilation_h = test.integer(1, most_dilation), s.dilation_w = test.integer(1, most_dilation);
  const int64_t rows = s.dilation_h * (s.R - 1) + 1 - 2 * s.top;
  const int64_t columns = s.dilation_w * (s.S - 1) + 1 - 2 * s.left;
  s.H = std::max<int64_t>(1, rows) + test.integer(0, 12);
  s.W = std::max<int64_t>(1, columns) + test.integer(0, 40);
  const bool ceil = test.coin();
  s.P = pool2d_output_size(s.H, s.R, s.stride_h, s.top, s.bottom, s.dilation_h, ceil);
  s.Q = pool2d_output_size(s.W, s.S, s.stride_w, s.left, s.right, s.dilation_w, ceil);
  return s;
}

struct Sizes {
  explicit Sizes(const Pool2dShape& s)
      : inputs(s.N * s.C * s.H * s.W), outputs(s.N * s.C * s.P * s.Q) {}
  int64_t inputs, outputs;
};

}  // namespace

void max_pool2d(Case& test) {
  const Pool2dShape s = draw_shape(test, 2);
  const Sizes n(s);
  const float *x = test.normal(n.inputs, test.coin()), *dy = test.normal(n.outputs);
  std::vector<int32_t> indices(n.outputs);
  // The indices, which a float holds without loss, behind the maxima.
  const auto both = [&](auto forward) {
    return [&, forward](float* out) {
      forward(out);
      std::copy(indices.begin(), indices.end(), out + n.outputs);
    };
  };
  const Floats expected = test.result(2 * n.outputs, both([&](float* out) {
                                        reference::max_pool2d_forward(out, indices.data(), x, s);
                                      }));
  test.expect("max_pool2d_forward", expected, 0,
              both([&](float* out) { cpu::max_pool2d_forward(out, indices.data(), x, s); }));
  STRIATE_EXPECT_SAME(test, n.outputs, 0, max_pool2d_forward(out, nullptr, x, s));
  STRIATE_EXPECT_SAME(test, n.inputs, rounding(s.R * s.S),
                      max_pool2d_backward(out, dy, indices.data(), s));
}

void avg_pool2d(Case& test) {
  const Pool2dShape s = draw_shape(test, 1);
  const Sizes n(s);
  const Pool2dDivisor divisor{.count_include_pad = test.coin(),
                              .divisor_override = test.one_of<int64_t>({0, 0, 7})};
  const float *x = test.normal(n.inputs), *dy = test.normal(n.outputs);
  const double atol = rounding(s.R * s.S);
  STRIATE_EXPECT_SAME(test, n.outputs, atol, avg_pool2d_forward(out, x, s, divisor));
  STRIATE_EXPECT_SAME(test, n.inputs, atol, avg_pool2d_backward(out, dy, s, divisor));
}

}  // namespace striate::tests
