// A chain of steps for training: forward keeps what backward needs, backward gives the gradients.
//
// In a small network (size.h) some images pass through several steps in one piece of work, and each
// piece sums the gradients of the weights over its own images; then the sums are added in order.
#pragma once

#include <memory>

#include "cpu/memory.h"
#include "plan/size.h"
#include "plan/step.h"

namespace striate::plan {

class Training {
 public:
  /// Step i reads what step i - 1 writes. Every step must train().
  Training(const Dims& input, std::vector<StepPtr> steps);

  const Dims& input() const { return input_; }
  const Dims& output() const { return steps_.empty() ? input_ : steps_.back()->output(); }
  const std::vector<StepPtr>& steps() const { return steps_; }
  std::size_t dropouts() const { return dropouts_; }
  /// Of all steps, one after another.
  const std::vector<int64_t>& parameter_sizes() const { return parameter_sizes_; }

  /// What forward keeps. x is the caller's and must outlive it.
  struct Saved {
    int64_t n;
    const float* x;
    std::vector<std::unique_ptr<cpu::Scratch>> values, marks;  // by step; marks: int32
    std::vector<DropoutKey> keys;
  };

  /// `keys`: one for each dropout. Keeps nothing unless `save`.
  std::unique_ptr<Saved> forward(float* y, const float* x, const float* const* params, int64_t n,
                                 std::vector<DropoutKey> keys, bool save) const;
  /// dx may be nullptr, and every dparams[i].
  void backward(float* dx, float* const* dparams, const float* dy, const Saved& saved,
                const float* const* params) const;

 private:
  struct Segment {
    std::size_t begin, end;
    bool by_image;
  };

  std::vector<Segment> segments(int64_t n) const;
  std::size_t lowest_needed(const float* dx, float* const* dparams) const;

  Dims input_;
  std::vector<StepPtr> steps_;
  std::vector<std::size_t> first_param_;  // of each step, and the end
  std::vector<std::size_t> key_of_;       // of each step that drops
  std::vector<int64_t> parameter_sizes_;
  std::size_t dropouts_ = 0;
  NetworkSize size_;
};

}  // namespace striate::plan
