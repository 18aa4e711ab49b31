// add, concat, flatten, pad: what joins values and moves them.
#include <algorithm>
#include <stdexcept>

#include "cpu/parallel.h"
#include "plan/steps.h"

namespace striate::plan {
namespace {

class AddStep final : public Step {
 public:
  AddStep(const std::vector<Dims>& x, bool relu) : Step(x, x[0]), relu_(relu) {}

  void forward(const Forward& c) const override {
    cpu::parallel_for(c.n * y_size(), cpu::streaming_grain(12), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float sum = c.x[0][i];
        for (std::size_t j = 1; j < inputs(); ++j) sum += c.x[j][i];
        c.y[i] = relu_ && sum <= 0 ? 0 : sum;
      }
    });
  }

 private:
  bool relu_;
};

Dims joined(const std::vector<Dims>& x, int64_t axis) {
  Dims y = x[0];
  for (std::size_t i = 1; i < x.size(); ++i) {
    Dims rest = x[i];
    if (rest.size() != y.size()) throw std::invalid_argument("concat: ranks differ");
    y[axis] += rest[axis];
    rest[axis] = y[axis];
    if (rest != y) throw std::invalid_argument("concat: shapes differ");
  }
  return y;
}

class ConcatStep final : public Step {
 public:
  ConcatStep(const std::vector<Dims>& x, int64_t axis) : Step(x, joined(x, axis)) {
    for (int64_t i = 0; i < axis; ++i) outer_ *= x[0][i];
  }

  void forward(const Forward& c) const override {
    const int64_t outer = c.n * outer_, row = y_size() / outer_;
    int64_t at = 0;
    for (std::size_t j = 0; j < inputs(); ++j) {
      const int64_t part = x_size(j) / outer_;
      for (int64_t i = 0; i < outer; ++i) {
        std::copy_n(c.x[j] + i * part, part, c.y + i * row + at);
      }
      at += part;
    }
  }

 private:
  int64_t outer_ = 1;
};

class ReshapeStep final : public Step {
 public:
  ReshapeStep(const Dims& x, const Dims& y) : Step({x}, y) {}
  bool only_reshapes() const override { return true; }
  bool trains() const override { return true; }
  void forward(const Forward&) const override {}
};

Dims padded(Dims x, const Pads& pads) {
  if (x.size() < 2) throw std::invalid_argument("pad: the input needs a height and a width");
  x[x.size() - 2] += pads[0] + pads[2];
  x[x.size() - 1] += pads[1] + pads[3];
  return x;
}

class PadStep final : public Step {
 public:
  PadStep(const Dims& x, const Pads& pads, double value)
      : Step({x}, padded(x, pads)),
        pads_(pads),
        height_(x[x.size() - 2]),
        width_(x.back()),
        value_(static_cast<float>(value)) {}

  void forward(const Forward& c) const override {
    const int64_t wide = output().back(), high = output()[output().size() - 2];
    const int64_t planes = c.n * y_size() / (wide * high);
    std::fill_n(c.y, c.n * y_size(), value_);
    for (int64_t i = 0; i < planes * height_; ++i) {
      const int64_t row = i / height_ * high + pads_[0] + i % height_;
      std::copy_n(c.x[0] + i * width_, width_, c.y + row * wide + pads_[1]);
    }
  }

 private:
  Pads pads_;
  int64_t height_, width_;
  float value_;
};

}  // namespace

StepPtr add(const std::vector<Dims>& x, bool relu) {
  for (const Dims& dims : x) {
    if (dims != x[0]) throw std::invalid_argument("add: shapes differ");
  }
  return std::make_unique<AddStep>(x, relu);
}

StepPtr concat(const std::vector<Dims>& x, int64_t dim) {
  return std::make_unique<ConcatStep>(x, image_axis(x[0], dim));
}

StepPtr flatten(const Dims& x, int64_t start_dim, int64_t end_dim) {
  const int64_t first = image_axis(x, start_dim), last = image_axis(x, end_dim);
  if (first > last) throw std::invalid_argument("flatten: start_dim is behind end_dim");
  Dims y(x.begin(), x.begin() + first);
  y.push_back(1);
  for (int64_t axis = first; axis <= last; ++axis) y.back() *= x[axis];
  y.insert(y.end(), x.begin() + last + 1, x.end());
  return std::make_unique<ReshapeStep>(x, y);
}

StepPtr pad(const Dims& x, const Pads& pads, double value) {
  return std::make_unique<PadStep>(x, pads, value);
}

}  // namespace striate::plan
