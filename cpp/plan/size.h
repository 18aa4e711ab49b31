// How a network's work is cut.
#pragma once

#include <algorithm>
#include <cstdint>

#include "plan/step.h"

namespace striate::plan {

/// What a network is, for an image, and its weights.
struct NetworkSize {
  int64_t multiply_adds = 0, activations = 0, parameters = 0;

  void add(const Step& step) {
    multiply_adds += step.multiply_adds();
    if (!step.only_reshapes()) activations += step.y_size();
    for (const int64_t size : step.parameter_sizes()) parameters += size;
  }

  /// Small enough that some images pass through many layers before the next ones start: their
  /// activations and all weights stay in a core's L2 cache, and threads meet once, not per layer.
  bool small() const {
    return parameters <= (int64_t{1} << 18) && activations <= (int64_t{1} << 15);
  }

  /// Too little for `n` images to wake a second thread up.
  bool tiny(int64_t n) const { return multiply_adds * n < 2'000'000; }
};

/// Images that pass through a small network together.
inline int64_t images_together(int64_t n) { return std::clamp<int64_t>(n / 8, 1, 8); }

}  // namespace striate::plan
