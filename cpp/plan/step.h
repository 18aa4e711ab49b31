// A step: one op, or several fused ones, of a network whose shapes are known but for the batch.
//
// Steps hold sizes and nothing that changes: weights come in with every call, laid out or
// transformed ("prepared") by whoever runs them. So a step may run in many threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "striate/dropout.h"

namespace striate::plan {

using Dims = std::vector<int64_t>;  // of one image: (C, H, W), or (features)

inline int64_t size_of(const Dims& dims) {
  int64_t size = 1;
  for (const int64_t n : dims) size *= n;
  return size;
}

/// `n` images, the first of which is number `first` of the batch. All arrays start at it.
struct Forward {
  float* y;
  const float* const* x;  // one pointer for each input
  const float* const* params;
  const float* prepared;  // by Step::prepare
  int32_t* saved;         // Step::saved_size() an image, for backward; nullptr in inference
  const DropoutKey* key;  // of a dropout that drops
  int64_t n, first;
};

struct Backward {
  float* dx;  // nullptr if nobody needs it
  const float* dy;
  const float* x;
  const float* y;
  const float* const* params;
  const float* prepared;  // by Step::prepare_backward
  const int32_t* saved;
  float* const* dparams;  // nullptr for those that nobody needs
  const DropoutKey* key;
  int64_t n, first;
};

/// The axis of an image that `dim` is, which counts the batch, too, and may count from the end.
inline int64_t image_axis(const Dims& x, int64_t dim) {
  const int64_t rank = static_cast<int64_t>(x.size()) + 1, axis = dim < 0 ? dim + rank : dim;
  if (axis < 1 || axis >= rank) throw std::invalid_argument("no such axis, or the batch's");
  return axis - 1;
}

class Step {
 public:
  Step(std::vector<Dims> inputs, Dims output)
      : inputs_(std::move(inputs)), output_(std::move(output)) {}
  virtual ~Step() = default;
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  const Dims& output() const { return output_; }
  int64_t x_size(std::size_t i = 0) const { return size_of(inputs_[i]); }  // floats an image
  int64_t y_size() const { return size_of(output_); }
  std::size_t inputs() const { return inputs_.size(); }

  /// "winograd": where there is a choice.
  virtual std::string algorithm() const { return ""; }
  /// Multiplications by a weight that forward takes for one image.
  virtual int64_t multiply_adds() const { return 0; }

  /// y is x: only its dims differ. Such a step is never run.
  virtual bool only_reshapes() const { return false; }
  /// Gains by seeing the whole batch at once, because its weights are many.
  virtual bool wants_whole_batch() const { return false; }

  virtual std::vector<int64_t> parameter_sizes() const { return {}; }
  /// Whether forward wants parameter `i` itself, beside what prepare made of it.
  virtual bool forward_reads(std::size_t) const { return true; }
  virtual int64_t prepared_size() const { return 0; }
  virtual void prepare(float*, const float* const*) const {}
  /// Whether preparing pays for one batch. Else forward finds prepared == nullptr in training.
  virtual bool prepares_each_batch() const { return true; }
  virtual void forward(const Forward& c) const = 0;

  // --- training; only for steps with one input ---
  virtual bool trains() const { return false; }
  virtual bool drops() const { return false; }  // wants a DropoutKey
  virtual bool backward_reads_x() const { return false; }
  virtual bool backward_reads_y() const { return false; }
  virtual int64_t saved_size() const { return 0; }
  virtual int64_t prepared_backward_size() const { return 0; }
  virtual void prepare_backward(float*, const float* const*) const {}
  virtual void backward(const Backward&) const {}

 private:
  std::vector<Dims> inputs_;
  Dims output_;
};

using StepPtr = std::unique_ptr<Step>;

}  // namespace striate::plan
