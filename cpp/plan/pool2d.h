// The shapes of a pooling, for the steps that pool.
#pragma once

#include "plan/steps.h"
#include "striate/pool2d.h"

namespace striate::plan {

/// For one image of dims (C, H, W); throws std::invalid_argument where no window fits.
Pool2dShape pool_shape(const Dims& x, const Pool& options);
Dims pooled_dims(const Dims& x, const Pool& options);

inline Pool2dShape images_of(Pool2dShape s, int64_t n) {
  s.N = n;
  return s;
}

}  // namespace striate::plan
