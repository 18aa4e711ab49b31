// conv2d, with bias, ReLU and a max pooling in the same step. The map under a pooling lives in
// scratch only: backward finds ReLU's mask in the pooled map, since a place that was no maximum
// gets no gradient anyway.
#include "striate/conv2d.h"

#include <stdexcept>

#include "cpu/conv2d_pool.h"
#include "cpu/conv2d_prepared.h"
#include "cpu/memory.h"
#include "plan/pool2d.h"
#include "plan/steps.h"
#include "striate/activation.h"

namespace striate::plan {
namespace {

using cpu::Conv2dAlgorithm;
using cpu::Conv2dPass;
using cpu::Scratch;

Conv2dShape shape_of(const Dims& x, const Conv2d& o) {
  if (x.size() != 3 || o.groups < 1 || x[0] != o.C * o.groups || o.K % o.groups != 0) {
    throw std::invalid_argument("conv2d: channels or groups do not fit");
  }
  Conv2dShape s{.N = 1,
                .C = x[0],
                .H = x[1],
                .W = x[2],
                .K = o.K,
                .R = o.kernel[0],
                .S = o.kernel[1],
                .P = 0,
                .Q = 0,
                .G = o.groups,
                .stride_h = o.stride[0],
                .stride_w = o.stride[1],
                .pad_top = o.pads[0],
                .pad_left = o.pads[1],
                .pad_bottom = o.pads[2],
                .pad_right = o.pads[3],
                .dilation_h = o.dilation[0],
                .dilation_w = o.dilation[1]};
  s.P = conv2d_output(s.H, s.pad_top + s.pad_bottom, s.R, s.stride_h, s.dilation_h);
  s.Q = conv2d_output(s.W, s.pad_left + s.pad_right, s.S, s.stride_w, s.dilation_w);
  if (s.H < 1 || s.W < 1) throw std::invalid_argument("conv2d: the image is empty");
  if (s.P < 1 || s.Q < 1) throw std::invalid_argument("conv2d: the kernel is too large");
  return s;
}

Dims output_of(const Conv2dShape& s, const Conv2d& o) {
  const Dims map{s.K, s.P, s.Q};
  return o.pool ? pooled_dims(map, *o.pool) : map;
}

// Whether the pooling can be computed within the convolution.
bool pools_within(const Conv2dShape& s, const Conv2d& o) {
  if (!o.pool || !o.relu || s.PQ() > cpu::kDirectLongestSum) return false;
  const Pool& pool = *o.pool;
  const Pair two{2, 2}, one{1, 1};
  if (pool.kernel != two || pool.stride != two || pool.pads != Pads{} || pool.dilation != one ||
      (pool.ceil_mode && (s.P % 2 != 0 || s.Q % 2 != 0))) {
    return false;
  }
  for (const auto pass :
       {Conv2dPass::forward, Conv2dPass::backward_weight, Conv2dPass::backward_data}) {
    if (conv2d_algorithm(pass, s) != Conv2dAlgorithm::direct) return false;
  }
  return true;
}

class Conv2dStep final : public Step {
 public:
  Conv2dStep(const Dims& x, const Conv2d& o)
      : Step({x}, output_of(shape_of(x, o), o)), shape_(shape_of(x, o)), options_(o) {
    if (o.pool) pool_ = pool_shape({shape_.K, shape_.P, shape_.Q}, *o.pool);
    forward_ = conv2d_algorithm(Conv2dPass::forward, shape_);
    backward_data_ = conv2d_algorithm(Conv2dPass::backward_data, shape_);
    pools_within_ = pools_within(shape_, o);
  }

  std::string algorithm() const override { return name_of(forward_); }
  int64_t multiply_adds() const override { return map_size() * shape_.CRS(); }
  std::vector<int64_t> parameter_sizes() const override {
    std::vector<int64_t> sizes{shape_.K * shape_.CRS()};
    if (options_.bias) sizes.push_back(shape_.K);
    return sizes;
  }

  bool forward_reads(std::size_t i) const override { return i > 0; }
  int64_t prepared_size() const override {
    return conv2d_prepared_size(forward_, Conv2dPass::forward, shape_);
  }
  void prepare(float* prepared, const float* const* params) const override {
    conv2d_prepare(forward_, Conv2dPass::forward, prepared, params[0], shape_);
  }
  void forward(const Forward& c) const override {
    if (pools_within_) {
      return cpu::direct_conv2d_pool_forward(c.y, c.saved, c.x[0], c.prepared,
                                             options_.bias ? c.params[1] : nullptr, images(c.n));
    }
    const Scratch map(options_.pool ? c.n * map_size() : 0);
    float* const y = options_.pool ? map.get() : c.y;
    cpu::conv2d_forward_prepared(
        forward_, y, c.x[0], c.prepared,
        {.bias = options_.bias ? c.params[1] : nullptr, .relu = options_.relu}, images(c.n));
    if (options_.pool) cpu::max_pool2d_forward(c.y, c.saved, y, images_of(pool_, c.n));
  }

  bool trains() const override { return true; }
  bool backward_reads_x() const override { return true; }
  bool backward_reads_y() const override { return options_.relu; }
  int64_t saved_size() const override { return options_.pool ? y_size() : 0; }
  int64_t prepared_backward_size() const override {
    if (pools_within_) return 0;
    return conv2d_prepared_size(backward_data_, Conv2dPass::backward_data, shape_);
  }
  void prepare_backward(float* prepared, const float* const* params) const override {
    conv2d_prepare(backward_data_, Conv2dPass::backward_data, prepared, params[0], shape_);
  }
  void backward(const Backward& c) const override {
    if (pools_within_) return backward_within(c);
    const Scratch masked(options_.relu ? c.n * y_size() : 0);
    const Scratch map(options_.pool ? c.n * map_size() : 0);
    const float* dy = c.dy;
    if (options_.relu) {
      cpu::relu_backward(masked.get(), dy, c.y, c.n * y_size());
      dy = masked.get();
    }
    if (options_.pool) {
      cpu::max_pool2d_backward(map.get(), dy, c.saved, images_of(pool_, c.n));
      dy = map.get();
    }
    const Conv2dShape s = images(c.n);
    if (c.dparams[0] != nullptr) cpu::conv2d_backward_weight(c.dparams[0], dy, c.x, s);
    if (options_.bias && c.dparams[1] != nullptr) cpu::conv2d_backward_bias(c.dparams[1], dy, s);
    if (c.dx != nullptr)
      cpu::conv2d_backward_data_prepared(backward_data_, c.dx, dy, c.prepared, s);
  }

 private:
  void backward_within(const Backward& c) const {
    const Conv2dShape s = images(c.n);
    const cpu::PooledGradient gradient{.dy = c.dy, .indices = c.saved, .y = c.y};
    float* const db = options_.bias ? c.dparams[1] : nullptr;
    if (c.dparams[0] != nullptr || db != nullptr) {
      const Scratch unwanted(c.dparams[0] == nullptr ? shape_.K * shape_.CRS() : 0);
      float* const dw = c.dparams[0] == nullptr ? unwanted.get() : c.dparams[0];
      cpu::direct_conv2d_pool_backward_weight(dw, db, gradient, c.x, s);
    }
    if (c.dx != nullptr) cpu::direct_conv2d_pool_backward_data(c.dx, gradient, c.params[0], s);
  }

  int64_t map_size() const { return shape_.K * shape_.PQ(); }
  Conv2dShape images(int64_t n) const {
    Conv2dShape s = shape_;
    s.N = n;
    return s;
  }

  Conv2dShape shape_;
  Conv2d options_;
  Pool2dShape pool_{};
  Conv2dAlgorithm forward_, backward_data_;
  bool pools_within_;
};

}  // namespace

StepPtr conv2d(const Dims& x, const Conv2d& options) {
  return std::make_unique<Conv2dStep>(x, options);
}

}  // namespace striate::plan
