// add, concat, reshape: what a graph with branches needs.
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
  if (axis < 0 || axis >= static_cast<int64_t>(x[0].size())) {
    throw std::invalid_argument("concat: no such axis, or the batch's");
  }
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

}  // namespace

StepPtr add(const std::vector<Dims>& x, bool relu) {
  for (const Dims& dims : x) {
    if (dims != x[0]) throw std::invalid_argument("add: shapes differ");
  }
  return std::make_unique<AddStep>(x, relu);
}

StepPtr concat(const std::vector<Dims>& x, int64_t axis) {
  return std::make_unique<ConcatStep>(x, axis);
}

StepPtr reshape(const Dims& x, const Dims& y) {
  if (size_of(x) != size_of(y)) throw std::invalid_argument("reshape: sizes differ");
  return std::make_unique<ReshapeStep>(x, y);
}

}  // namespace striate::plan
