// channel_affine, which batch normalisation is in inference, and a bias of any shape.
#include <stdexcept>

#include "cpu/parallel.h"
#include "plan/steps.h"

namespace striate::plan {
namespace {

class ChannelAffineStep final : public Step {
 public:
  ChannelAffineStep(const Dims& x, int64_t channels, bool relu)
      : Step({x}, x), channels_(channels), relu_(relu) {}

  std::vector<int64_t> parameter_sizes() const override { return {channels_, channels_}; }
  void forward(const Forward& c) const override {
    const int64_t plane = y_size() / channels_;
    cpu::parallel_for(
        c.n * channels_, cpu::streaming_grain(8 * plane) / 64 + 1, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const float a = c.params[0][i % channels_], b = c.params[1][i % channels_];
            for (int64_t j = i * plane; j < (i + 1) * plane; ++j) {
              const float v = a * c.x[0][j] + b;
              c.y[j] = relu_ && v <= 0 ? 0 : v;
            }
          }
        });
  }

 private:
  int64_t channels_;
  bool relu_;
};

class BiasStep final : public Step {
 public:
  BiasStep(const Dims& x, const Dims& shape) : Step({x}, x), shape_(shape) {}

  std::vector<int64_t> parameter_sizes() const override { return {size_of(shape_)}; }
  bool forward_reads(std::size_t) const override { return false; }
  int64_t prepared_size() const override { return y_size(); }
  void prepare(float* prepared, const float* const* params) const override {
    // Element i of an image reads the bias by the axes that are not broadcast.
    for (int64_t i = 0; i < y_size(); ++i) {
      int64_t rest = i, at = 0, step = 1;
      for (std::size_t axis = 1; axis <= std::min(shape_.size(), output().size()); ++axis) {
        const int64_t size = output()[output().size() - axis], own = shape_[shape_.size() - axis];
        at += own == 1 ? 0 : rest % size * step;
        rest /= size, step *= own;
      }
      prepared[i] = params[0][at];
    }
  }
  void forward(const Forward& c) const override {
    cpu::parallel_for(c.n, cpu::streaming_grain(8 * y_size()) / 64 + 1,
                      [&](int64_t begin, int64_t end) {
                        for (int64_t n = begin; n < end; ++n) {
                          for (int64_t i = 0; i < y_size(); ++i) {
                            c.y[n * y_size() + i] = c.x[0][n * y_size() + i] + c.prepared[i];
                          }
                        }
                      });
  }

 private:
  Dims shape_;
};

}  // namespace

StepPtr channel_affine(const Dims& x, int64_t channels, bool relu) {
  if (x.empty() || x[0] != channels || channels < 1) {
    throw std::invalid_argument("channel_affine: channels do not fit");
  }
  return std::make_unique<ChannelAffineStep>(x, channels, relu);
}

StepPtr bias(const Dims& x, const Dims& shape) {
  const std::size_t rank = x.size() + 1;
  bool fits = shape.size() <= rank && (shape.size() < rank || shape[0] == 1);
  for (std::size_t axis = 1; fits && axis <= std::min(shape.size(), x.size()); ++axis) {
    const int64_t own = shape[shape.size() - axis];
    fits = own == 1 || own == x[x.size() - axis];
  }
  if (!fits) throw std::invalid_argument("bias: the shape does not fit");
  return std::make_unique<BiasStep>(x, shape);
}

}  // namespace striate::plan
