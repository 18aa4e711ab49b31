// The steps there are. Each function checks that the sizes fit, by std::invalid_argument: the
// messages for people are those of the layers, which a plan only speeds up.
#pragma once

#include <array>
#include <optional>

#include "plan/step.h"

namespace striate::plan {

using Pair = std::array<int64_t, 2>;  // (height, width)
using Pads = std::array<int64_t, 4>;  // (top, left, bottom, right)

struct Pool {
  Pair kernel, stride;
  Pads pads;
  Pair dilation;
  bool ceil_mode;
};

struct Conv2d {
  int64_t C, K;  // C: channels in, in a group
  Pair kernel, stride;
  Pads pads;
  Pair dilation;
  int64_t groups;
  bool bias, relu;
  std::optional<Pool> pool;  // a max pooling behind it
};
StepPtr conv2d(const Dims& x, const Conv2d& options);

struct Linear {
  int64_t C, K;
  bool bias, relu;
};
StepPtr linear(const Dims& x, const Linear& options);

StepPtr max_pool2d(const Dims& x, const Pool& options);
/// pool.dilation must be 1.
StepPtr avg_pool2d(const Dims& x, const Pool& pool, bool count_include_pad, int64_t divisor);
StepPtr adaptive_avg_pool2d(const Dims& x, Pair output);  // 0: as many as there are

StepPtr relu(const Dims& x);
StepPtr scale(const Dims& x, double factor);
StepPtr tanh(const Dims& x);
StepPtr sigmoid(const Dims& x);
StepPtr dropout(const Dims& x, double p);
StepPtr local_response_norm(const Dims& x, int64_t size, double alpha, double beta, double k);
/// `dim` counts the batch, too, and may count from the end; it must not be the batch.
StepPtr softmax(const Dims& x, int64_t dim, bool log);
StepPtr channel_affine(const Dims& x, int64_t channels, bool relu);
/// Adds an array whose shape, (N, C, H, W) or its last axes, is broadcast; N must be 1.
StepPtr bias(const Dims& x, const Dims& shape);
StepPtr pad(const Dims& x, const Pads& pads, double value);
StepPtr add(const std::vector<Dims>& x, bool relu);
StepPtr concat(const std::vector<Dims>& x, int64_t dim);
/// Axes that count the batch, too, and may count from the end.
StepPtr flatten(const Dims& x, int64_t start_dim, int64_t end_dim);

}  // namespace striate::plan
