// The arguments of a convolution, checked.
#pragma once

#include <array>
#include <string>

#include "arrays.h"
#include "striate/conv2d.h"

namespace striate::bindings {

using Conv2dPair = std::array<int64_t, 2>;  // (height, width)
using Conv2dPads = std::array<int64_t, 4>;  // (top, left, bottom, right)

/// The shape of a convolution, checked: every message names the argument and the values at odds.
template <class T>
Conv2dShape checked_conv2d_shape(const char* op, const Input<T>& x, const Input<T>& w,
                                 Conv2dPair stride, Conv2dPads pads, Conv2dPair dilation,
                                 int64_t groups) {
  x.expect_ndim(4, "(N, C, H, W)");
  w.expect_ndim(4, "(out_channels, in_channels / groups, height, width)");
  Conv2dShape s{.N = x[0],
                .C = x[1],
                .H = x[2],
                .W = x[3],
                .K = w[0],
                .R = w[2],
                .S = w[3],
                .P = 0,
                .Q = 0,
                .G = groups};
  const std::string shapes = "; input " + text(x.shape()) + ", weight " + text(w.shape());
  if (w.size() == 0) fail(op, "weight must not be empty, got shape " + text(w.shape()));
  if (s.H < 1 || s.W < 1) {
    fail(op, "input must have a height and a width of at least 1, got shape " + text(x.shape()));
  }
  if (groups < 1) fail(op, "groups must be at least 1, got " + std::to_string(groups));
  if (s.C % groups != 0 || s.K % groups != 0) {
    fail(op, "groups=" + std::to_string(groups) + " must divide the input's " +
                 std::to_string(s.C) + " channels and the weight's " + std::to_string(s.K) +
                 " output channels" + shapes);
  }
  if (w[1] != s.C / groups) {
    fail(op, "weight has " + std::to_string(w[1]) + " input channels a group, but input has " +
                 std::to_string(s.C) + " channels in groups=" + std::to_string(groups) + shapes);
  }
  check_range(op, "stride", stride, 1);
  check_range(op, "dilation", dilation, 1);
  check_range(op, "padding", pads, 0);
  check_range<2>(op, "weight's height and width", {s.R, s.S}, 1);
  s.stride_h = stride[0], s.stride_w = stride[1];
  s.dilation_h = dilation[0], s.dilation_w = dilation[1];
  s.pad_top = pads[0], s.pad_left = pads[1], s.pad_bottom = pads[2], s.pad_right = pads[3];
  s.P = conv2d_output(s.H, pads[0] + pads[2], s.R, s.stride_h, s.dilation_h);
  s.Q = conv2d_output(s.W, pads[1] + pads[3], s.S, s.stride_w, s.dilation_w);
  if (s.P < 1 || s.Q < 1) {
    fail(op, "the kernel " + text({s.dilation_h * (s.R - 1) + 1, s.dilation_w * (s.S - 1) + 1}) +
                 " (with dilation) is larger than the padded input " +
                 text({s.H + pads[0] + pads[2], s.W + pads[1] + pads[3]}) + shapes);
  }
  checked_product({s.P, s.Q}, "output pixels");
  return s;
}

}  // namespace striate::bindings
