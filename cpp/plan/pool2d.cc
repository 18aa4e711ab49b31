// max_pool2d, avg_pool2d, adaptive_avg_pool2d.
#include "plan/pool2d.h"

#include <cstdint>
#include <limits>
#include <stdexcept>

#include "striate/adaptive_avg_pool2d.h"

namespace striate::plan {

Pool2dShape pool_shape(const Dims& x, const Pool& o) {
  if (x.size() != 3) throw std::invalid_argument("pool2d: the input must be (C, H, W)");
  const auto outputs = [&](int i) {
    return pool2d_output_size(x[i + 1], o.kernel[i], o.stride[i], o.pads[i], o.pads[i + 2],
                              o.dilation[i], o.ceil_mode);
  };
  const Pool2dShape s{.N = 1,
                      .C = x[0],
                      .H = x[1],
                      .W = x[2],
                      .R = o.kernel[0],
                      .S = o.kernel[1],
                      .P = outputs(0),
                      .Q = outputs(1),
                      .stride_h = o.stride[0],
                      .stride_w = o.stride[1],
                      .top = o.pads[0],
                      .left = o.pads[1],
                      .bottom = o.pads[2],
                      .right = o.pads[3],
                      .dilation_h = o.dilation[0],
                      .dilation_w = o.dilation[1]};
  for (int i = 0; i < 4; ++i) {
    if (2 * o.pads[i] > o.kernel[i % 2]) throw std::invalid_argument("pool2d: a pad is too large");
  }
  if (s.H < 1 || s.W < 1) throw std::invalid_argument("pool2d: the image is empty");
  if (s.H * s.W > std::numeric_limits<int32_t>::max()) {  // max_pool2d saves them as int32
    throw std::invalid_argument("pool2d: the image has too many positions");
  }
  if (s.P < 1 || s.Q < 1) throw std::invalid_argument("pool2d: the window is too large");
  return s;
}

Dims pooled_dims(const Dims& x, const Pool& options) {
  const Pool2dShape s = pool_shape(x, options);
  return {s.C, s.P, s.Q};
}

namespace {

class MaxPool2dStep final : public Step {
 public:
  MaxPool2dStep(const Dims& x, const Pool& o)
      : Step({x}, pooled_dims(x, o)), shape_(pool_shape(x, o)) {}

  void forward(const Forward& c) const override {
    cpu::max_pool2d_forward(c.y, c.saved, c.x[0], images_of(shape_, c.n));
  }
  bool trains() const override { return true; }
  int64_t saved_size() const override { return y_size(); }
  void backward(const Backward& c) const override {
    if (c.dx != nullptr) cpu::max_pool2d_backward(c.dx, c.dy, c.saved, images_of(shape_, c.n));
  }

 private:
  Pool2dShape shape_;
};

class AvgPool2dStep final : public Step {
 public:
  AvgPool2dStep(const Dims& x, const Pool& o, const Pool2dDivisor& divisor)
      : Step({x}, pooled_dims(x, o)), shape_(pool_shape(x, o)), divisor_(divisor) {}

  void forward(const Forward& c) const override {
    cpu::avg_pool2d_forward(c.y, c.x[0], images_of(shape_, c.n), divisor_);
  }
  bool trains() const override { return true; }
  void backward(const Backward& c) const override {
    if (c.dx != nullptr) cpu::avg_pool2d_backward(c.dx, c.dy, images_of(shape_, c.n), divisor_);
  }

 private:
  Pool2dShape shape_;
  Pool2dDivisor divisor_;
};

class AdaptiveAvgPool2dStep final : public Step {
 public:
  AdaptiveAvgPool2dStep(const Dims& x, int64_t P, int64_t Q)
      : Step({x}, {x[0], P, Q}), shape_{.N = 1, .C = x[0], .H = x[1], .W = x[2], .P = P, .Q = Q} {}

  void forward(const Forward& c) const override {
    cpu::adaptive_avg_pool2d_forward(c.y, c.x[0], images(c.n));
  }
  bool trains() const override { return true; }
  void backward(const Backward& c) const override {
    if (c.dx != nullptr) cpu::adaptive_avg_pool2d_backward(c.dx, c.dy, images(c.n));
  }

 private:
  AdaptiveAvgPool2dShape images(int64_t n) const {
    AdaptiveAvgPool2dShape s = shape_;
    s.N = n;
    return s;
  }
  AdaptiveAvgPool2dShape shape_;
};

}  // namespace

StepPtr max_pool2d(const Dims& x, const Pool& options) {
  return std::make_unique<MaxPool2dStep>(x, options);
}

StepPtr avg_pool2d(const Dims& x, const Pool& pool, bool count_include_pad, int64_t divisor) {
  return std::make_unique<AvgPool2dStep>(x, pool, Pool2dDivisor{count_include_pad, divisor});
}

StepPtr adaptive_avg_pool2d(const Dims& x, Pair output) {
  if (x.size() != 3 || size_of(x) == 0 || output[0] < 0 || output[1] < 0) {
    throw std::invalid_argument("adaptive_avg_pool2d: the input must be (C, H, W)");
  }
  return std::make_unique<AdaptiveAvgPool2dStep>(x, output[0] == 0 ? x[1] : output[0],
                                                 output[1] == 0 ? x[2] : output[1]);
}

}  // namespace striate::plan
