#include "striate/conv2d.h"

#include <algorithm>
#include <cmath>

#include "cpu/conv2d_algorithm.h"
#include "tests/case.h"

namespace striate::tests {
namespace {

// Input pixels along one axis on which the kernel has at least one place.
int64_t draw_size(Case& test, int64_t pads, int64_t kernel, int64_t dilation, int64_t room) {
  const int64_t least = dilation * (kernel - 1) + 1 - pads;
  return std::max<int64_t>(1, least) + test.integer(0, room);
}

Conv2dShape draw_shape(Case& test) {
  Conv2dShape s{};
  s.G = test.one_of<int64_t>({1, 1, 1, 2, 5});
  s.C = s.G * test.one_of<int64_t>({1, 1, 2, 3, 6, 17});
  s.K = s.G * test.one_of<int64_t>({1, 2, 5, 8, 16, 20, 35});
  s.R = test.one_of<int64_t>({1, 2, 3, 3, 5, 5, 7});
  s.S = test.one_of<int64_t>({1, 3, 3, 5, 5, 9});
  s.stride_h = test.one_of<int64_t>({1, 1, 1, 2, 4});
  s.stride_w = test.one_of<int64_t>({1, 1, 1, 2, 3});
  s.dilation_h = test.one_of<int64_t>({1, 1, 1, 2});
  s.dilation_w = test.one_of<int64_t>({1, 1, 1, 3});
  for (int64_t* pad : {&s.pad_top, &s.pad_left, &s.pad_bottom, &s.pad_right}) {
    *pad = test.integer(0, 3);
  }
  s.H = draw_size(test, s.pad_top + s.pad_bottom, s.R, s.dilation_h, 12);
  s.W = draw_size(test, s.pad_left + s.pad_right, s.S, s.dilation_w, 36);
  s.P = conv2d_output(s.H, s.pad_top + s.pad_bottom, s.R, s.stride_h, s.dilation_h);
  s.Q = conv2d_output(s.W, s.pad_left + s.pad_right, s.S, s.stride_w, s.dilation_w);
  // 40: small images side by side, as long as the naked loops do not take too long.
  constexpr int64_t kMostProducts = 400000;
  const int64_t images = kMostProducts / (s.K * s.PQ() * s.CRS());
  s.N = std::clamp<int64_t>(images, 1, test.one_of<int64_t>({1, 2, 3, 40}));
  return s;
}

// What striate/conv2d.h promises of Winograd's filtering. A few numbers have no root mean square
// worth the name.
double winograd_error(const Floats& expected) {
  double squares = 0;
  for (const float value : expected) squares += double{value} * value;
  const double count = static_cast<double>(expected.size());
  return 5e-5 * (1 + 20 / std::sqrt(count)) * std::sqrt(squares / count);
}

}  // namespace

void conv2d(Case& test) {
  const Conv2dShape s = draw_shape(test);
  const int64_t inputs = s.N * s.C * s.H * s.W, outputs = s.N * s.K * s.PQ();
  const int64_t weights = s.K * s.CRS();
  const float *x = test.normal(inputs), *w = test.normal(weights), *dy = test.normal(outputs);
  const float* b = test.coin() ? test.normal(s.K) : nullptr;
  const auto y =
      test.result(outputs, [&](float* out) { reference::conv2d_forward(out, x, w, b, s); });
  const auto dx =
      test.result(inputs, [&](float* out) { reference::conv2d_backward_data(out, dy, w, s); });
  const auto dw =
      test.result(weights, [&](float* out) { reference::conv2d_backward_weight(out, dy, x, s); });

  for (const std::string algorithm : {"gemm", "direct", "winograd", "auto"}) {
    cpu::set_conv2d_algorithm(algorithm);
    // Each of them leaves to another what it cannot do; the last two may be Winograd's.
    const bool exact = algorithm == "gemm" || algorithm == "direct";
    const auto atol = [&](int64_t depth, const Floats& expected) {
      return std::max(rounding(depth), exact ? 0 : winograd_error(expected));
    };
    test.expect(("forward by " + algorithm).c_str(), y, atol(s.CRS(), y),
                [&](float* out) { cpu::conv2d_forward(out, x, w, b, s); });
    test.expect(("backward_data by " + algorithm).c_str(), dx, atol(s.K / s.G * s.R * s.S, dx),
                [&](float* out) { cpu::conv2d_backward_data(out, dy, w, s); });
    test.expect(("backward_weight by " + algorithm).c_str(), dw, atol(s.N * s.PQ(), dw),
                [&](float* out) { cpu::conv2d_backward_weight(out, dy, x, s); });
  }
  STRIATE_EXPECT_SAME(test, s.K, rounding(s.N * s.PQ()), conv2d_backward_bias(out, dy, s));
}

}  // namespace striate::tests
