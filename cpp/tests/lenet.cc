// Ten steps of LeNet by a training plan (cpp/plan): its first logits against the naked loops, and
// then the loss, which falls, and the weights.
#include <algorithm>
#include <cmath>

#include "plan/steps.h"
#include "plan/training.h"
#include "striate/activation.h"
#include "striate/conv2d.h"
#include "striate/cross_entropy.h"
#include "striate/linear.h"
#include "striate/pool2d.h"
#include "striate/sgd.h"
#include "tests/case.h"

namespace striate::tests {
namespace {

constexpr int64_t kImages = 9, kClasses = 10;

plan::Training make_lenet() {
  plan::Dims dims = {1, 28, 28};
  const plan::Dims input = dims;
  std::vector<plan::StepPtr> steps;
  const auto add = [&](plan::StepPtr step) {
    dims = step->output();
    steps.push_back(std::move(step));
  };
  const auto convolution = [&](int64_t C, int64_t K, int64_t pad) {
    const plan::Pool halve = {
        .kernel = {2, 2}, .stride = {2, 2}, .pads = {}, .dilation = {1, 1}, .ceil_mode = false};
    add(plan::conv2d(dims, {.C = C,
                            .K = K,
                            .kernel = {5, 5},
                            .stride = {1, 1},
                            .pads = {pad, pad, pad, pad},
                            .dilation = {1, 1},
                            .groups = 1,
                            .bias = true,
                            .relu = true,
                            .pool = halve}));
  };
  convolution(1, 6, 2);
  convolution(6, 16, 0);
  add(plan::flatten(dims, 1, -1));
  add(plan::linear(dims, {.C = 400, .K = 120, .bias = true, .relu = true}));
  add(plan::linear(dims, {.C = 120, .K = 84, .bias = true, .relu = true}));
  add(plan::linear(dims, {.C = 84, .K = kClasses, .bias = true, .relu = false}));
  return plan::Training(input, std::move(steps));
}

// One layer after the other; w and b of each stand in `params`.
Floats naked_logits(const float* images, const std::vector<float*>& params) {
  const float* x = images;
  Floats y, rectified, pooled;
  const auto relu = [&] {
    rectified.resize(y.size());
    reference::relu_forward(rectified.data(), y.data(), std::ssize(y));
  };
  std::size_t i = 0;
  const auto convolution = [&](int64_t C, int64_t K, int64_t H, int64_t pad) {
    Conv2dShape s{.N = kImages, .C = C, .H = H, .W = H, .K = K, .R = 5, .S = 5, .P = 0, .Q = 0};
    s.pad_top = s.pad_left = s.pad_bottom = s.pad_right = pad;
    s.P = s.Q = H + 2 * pad - 4;
    y.resize(kImages * K * s.PQ());
    reference::conv2d_forward<float>(y.data(), x, params[i], params[i + 1], s);
    relu();
    Pool2dShape pool{.N = kImages, .C = K, .H = s.P, .W = s.Q, .R = 2, .S = 2, .P = 0, .Q = 0};
    pool.P = pool.Q = s.P / 2;
    pool.stride_h = pool.stride_w = 2;
    pooled.resize(y.size() / 4);
    reference::max_pool2d_forward(pooled.data(), nullptr, rectified.data(), pool);
    x = pooled.data();
    i += 2;
  };
  convolution(1, 6, 28, 2);
  convolution(6, 16, 14, 0);
  Floats features(pooled);
  for (const LinearShape s : {LinearShape{kImages, 400, 120}, LinearShape{kImages, 120, 84},
                              LinearShape{kImages, 84, kClasses}}) {
    y.resize(kImages * s.K);
    reference::linear_forward<float>(y.data(), features.data(), params[i], params[i + 1], s);
    relu();
    features = rectified;
    i += 2;
  }
  return y;
}

// The logits before the first step, the loss before each, and the weights after the last.
void train(float* out, const plan::Training& lenet, const float* images, const float* weights) {
  Floats w(weights, weights + 61706), dw(w.size()), logits(kImages * kClasses), dy(logits.size());
  std::vector<const float*> params;
  std::vector<float*> gradients;
  int64_t offset = 0;
  for (const int64_t size : lenet.parameter_sizes()) {
    params.push_back(w.data() + offset);
    gradients.push_back(dw.data() + offset);
    offset += size;
  }
  const int64_t labels[kImages] = {3, 1, 4, 1, 5, 9, 2, 6, 5};
  const CrossEntropy<float> criterion{.sizes = {kImages, kClasses, 1},
                                      .labels = labels,
                                      .probabilities = nullptr,
                                      .weight = nullptr,
                                      .ignore_index = -100,
                                      .label_smoothing = 0,
                                      .mean = true};
  const SgdTensor<float> tensor{
      .w = w.data(), .dw = dw.data(), .v = nullptr, .n = std::ssize(w), .first = false};
  for (int step = 0; step < 10; ++step) {
    const auto saved = lenet.forward(logits.data(), images, params.data(), kImages, {}, true);
    if (step == 0) out = std::copy(logits.begin(), logits.end(), out);
    *out++ = static_cast<float>(cpu::cross_entropy_forward(nullptr, logits.data(), criterion));
    cpu::cross_entropy_backward(dy.data(), nullptr, 1, logits.data(), criterion);
    lenet.backward(nullptr, gradients.data(), dy.data(), *saved, params.data());
    cpu::sgd_step(&tensor, 1,
                  {.lr = 0.004,
                   .momentum = 0,
                   .dampening = 0,
                   .weight_decay = 0,
                   .nesterov = false,
                   .maximize = false});
  }
  std::copy(w.begin(), w.end(), out);
}

}  // namespace

void lenet(Case& test) {
  const plan::Training lenet = make_lenet();
  const float* images = test.normal(kImages * 28 * 28);
  std::vector<float*> params;
  Floats weights;
  for (const int64_t size : lenet.parameter_sizes()) {
    params.push_back(test.normal(size));
  }
  for (std::size_t i = 0; i < params.size(); i += 2) {  // by He's rule, biases at zero
    const int64_t size = lenet.parameter_sizes()[i], outputs = lenet.parameter_sizes()[i + 1];
    const float scale = std::sqrt(2.0f / static_cast<float>(size / outputs));
    std::transform(params[i], params[i] + size, params[i], [&](float v) { return scale * v; });
    std::fill_n(params[i + 1], outputs, 0.0f);
    weights.insert(weights.end(), params[i], params[i] + size);
    weights.insert(weights.end(), params[i + 1], params[i + 1] + outputs);
  }
  const Run run = [&](float* out) { train(out, lenet, images, weights.data()); };

  constexpr int64_t kLogits = kImages * kClasses;
  Floats expected = Case::result(kLogits + 10 + std::ssize(weights), run);
  for (int step = 1; step < 10; ++step) {
    const float before = expected[kLogits + step - 1], loss = expected[kLogits + step];
    if (!(loss < before)) test.fail("ten steps of LeNet", "the loss rises");
  }
  const Floats naked = naked_logits(images, params);
  std::copy(naked.begin(), naked.end(), expected.begin());
  test.expect("ten steps of LeNet", expected, 1e-3, run);
}

}  // namespace striate::tests
