// What works element by element or across channels, without weights: activations, dropout,
// local_response_norm, softmax.
#include <stdexcept>

#include "cpu/parallel.h"
#include "plan/steps.h"
#include "striate/activation.h"
#include "striate/dropout.h"
#include "striate/local_response_norm.h"
#include "striate/softmax.h"

namespace striate::plan {
namespace {

using Activation = void (*)(float* y, const float* x, int64_t n);
using ActivationBackward = void (*)(float* dx, const float* dy, const float* y, int64_t n);

class ActivationStep final : public Step {
 public:
  ActivationStep(const Dims& x, Activation forward, ActivationBackward backward)
      : Step({x}, x), forward_(forward), backward_(backward) {}

  void forward(const Forward& c) const override { forward_(c.y, c.x[0], c.n * y_size()); }
  bool trains() const override { return true; }
  bool backward_reads_y() const override { return true; }
  void backward(const Backward& c) const override {
    if (c.dx != nullptr) backward_(c.dx, c.dy, c.y, c.n * y_size());
  }

 private:
  Activation forward_;
  ActivationBackward backward_;
};

class ScaleStep final : public Step {
 public:
  ScaleStep(const Dims& x, float factor) : Step({x}, x), factor_(factor) {}

  void forward(const Forward& c) const override { scale(c.y, c.x[0], c.n * y_size()); }
  bool trains() const override { return true; }
  void backward(const Backward& c) const override {
    if (c.dx != nullptr) scale(c.dx, c.dy, c.n * y_size());
  }

 private:
  void scale(float* y, const float* x, int64_t n) const {
    cpu::parallel_for(n, cpu::streaming_grain(8), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] = factor_ * x[i];
    });
  }
  float factor_;
};

class DropoutStep final : public Step {
 public:
  DropoutStep(const Dims& x, double p) : Step({x}, x), p_(p) {}

  void forward(const Forward& c) const override {
    cpu::dropout(c.y, c.x[0], c.n * y_size(), p_, *c.key, c.first * y_size());
  }
  bool trains() const override { return true; }
  bool drops() const override { return true; }
  void backward(const Backward& c) const override {
    if (c.dx != nullptr) {
      cpu::dropout(c.dx, c.dy, c.n * y_size(), p_, *c.key, c.first * y_size());
    }
  }

 private:
  double p_;
};

class LocalResponseNormStep final : public Step {
 public:
  LocalResponseNormStep(const Dims& x, LocalResponseNorm s) : Step({x}, x), shape_(s) {}

  void forward(const Forward& c) const override {
    cpu::local_response_norm_forward(c.y, c.x[0], images(c.n));
  }
  bool trains() const override { return true; }
  bool backward_reads_x() const override { return true; }
  void backward(const Backward& c) const override {
    if (c.dx != nullptr) cpu::local_response_norm_backward(c.dx, c.dy, c.x, images(c.n));
  }

 private:
  LocalResponseNorm images(int64_t n) const {
    LocalResponseNorm s = shape_;
    s.N = n;
    return s;
  }
  LocalResponseNorm shape_;
};

class SoftmaxStep final : public Step {
 public:
  SoftmaxStep(const Dims& x, int64_t axis, bool log) : Step({x}, x), log_(log) {
    for (int64_t i = 0; i < axis; ++i) sizes_.outer *= x[i];
    sizes_.classes = x[axis];
    for (int64_t i = axis + 1; i < static_cast<int64_t>(x.size()); ++i) sizes_.inner *= x[i];
  }

  void forward(const Forward& c) const override {
    SoftmaxSizes sizes = sizes_;
    sizes.outer *= c.n;
    (log_ ? cpu::log_softmax_forward : cpu::softmax_forward)(c.y, c.x[0], sizes);
  }

 private:
  SoftmaxSizes sizes_{1, 1, 1};
  bool log_;
};

}  // namespace

StepPtr relu(const Dims& x) {
  return std::make_unique<ActivationStep>(x, cpu::relu_forward, cpu::relu_backward);
}
StepPtr scale(const Dims& x, double factor) {
  return std::make_unique<ScaleStep>(x, static_cast<float>(factor));
}
StepPtr tanh(const Dims& x) {
  return std::make_unique<ActivationStep>(x, cpu::tanh_forward, cpu::tanh_backward);
}
StepPtr sigmoid(const Dims& x) {
  return std::make_unique<ActivationStep>(x, cpu::sigmoid_forward, cpu::sigmoid_backward);
}

StepPtr dropout(const Dims& x, double p) {
  if (!(p >= 0 && p <= 1)) throw std::invalid_argument("dropout: p must be between 0 and 1");
  return std::make_unique<DropoutStep>(x, p);
}

StepPtr local_response_norm(const Dims& x, int64_t size, double alpha, double beta, double k) {
  if (x.size() < 2 || size < 1) {
    throw std::invalid_argument("local_response_norm: the size or the input does not fit");
  }
  const LocalResponseNorm shape{.N = 1,
                                .C = x[0],
                                .L = size_of(x) / (x[0] > 0 ? x[0] : 1),
                                .size = size,
                                .alpha = alpha,
                                .beta = beta,
                                .k = k};
  return std::make_unique<LocalResponseNormStep>(x, shape);
}

StepPtr softmax(const Dims& x, int64_t dim, bool log) {
  return std::make_unique<SoftmaxStep>(x, image_axis(x, dim), log);
}

}  // namespace striate::plan
