// linear, with bias and ReLU in the same step.
#include "striate/linear.h"

#include <stdexcept>

#include "cpu/linear_prepared.h"
#include "cpu/memory.h"
#include "plan/steps.h"
#include "striate/activation.h"

namespace striate::plan {
namespace {

Dims output_of(Dims x, const Linear& o) {
  if (x.empty() || x.back() != o.C) throw std::invalid_argument("linear: features do not fit");
  x.back() = o.K;
  return x;
}

class LinearStep final : public Step {
 public:
  LinearStep(const Dims& x, const Linear& o) : Step({x}, output_of(x, o)), options_(o) {}

  int64_t multiply_adds() const override { return y_size() * options_.C; }
  bool wants_whole_batch() const override { return true; }
  std::vector<int64_t> parameter_sizes() const override {
    std::vector<int64_t> sizes{options_.K * options_.C};
    if (options_.bias) sizes.push_back(options_.K);
    return sizes;
  }

  // Training changes the weights after every batch, and gemm packs slices of them as it goes.
  bool prepares_each_batch() const override { return false; }
  bool forward_reads(std::size_t i) const override { return i > 0; }
  int64_t prepared_size() const override { return cpu::linear_weights_size(rows(1)); }
  void prepare(float* prepared, const float* const* params) const override {
    cpu::linear_prepare_weights(prepared, params[0], rows(1));
  }
  void forward(const Forward& c) const override {
    if (c.prepared != nullptr) {
      return cpu::linear_forward_prepared(
          c.y, c.x[0], c.prepared, options_.bias ? c.params[1] : nullptr, options_.relu, rows(c.n));
    }
    cpu::linear_forward(c.y, c.x[0], c.params[0], options_.bias ? c.params[1] : nullptr, rows(c.n));
    if (options_.relu) cpu::relu_forward(c.y, c.y, c.n * y_size());
  }

  bool trains() const override { return true; }
  bool backward_reads_x() const override { return true; }
  bool backward_reads_y() const override { return options_.relu; }
  void backward(const Backward& c) const override {
    const cpu::Scratch masked(options_.relu ? c.n * y_size() : 0);
    const float* dy = c.dy;
    if (options_.relu) {
      cpu::relu_backward(masked.get(), dy, c.y, c.n * y_size());
      dy = masked.get();
    }
    const LinearShape s = rows(c.n);
    if (c.dparams[0] != nullptr) cpu::linear_backward_weight(c.dparams[0], dy, c.x, s);
    if (options_.bias && c.dparams[1] != nullptr) cpu::linear_backward_bias(c.dparams[1], dy, s);
    if (c.dx != nullptr) cpu::linear_backward_data(c.dx, dy, c.params[0], s);
  }

 private:
  LinearShape rows(int64_t n) const {
    return {.N = n * (y_size() / options_.K), .C = options_.C, .K = options_.K};
  }
  Linear options_;
};

}  // namespace

StepPtr linear(const Dims& x, const Linear& options) {
  return std::make_unique<LinearStep>(x, options);
}

}  // namespace striate::plan
