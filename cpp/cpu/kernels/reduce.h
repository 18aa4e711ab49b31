// Sums of runs of floats.
#pragma once

#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

/// The sum of n floats: one per lane, then the lanes.
static float sum(const float* x, int64_t n) {
  Vec total = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) total += load(x + i);
  if (i < n) total += load_first(x + i, n - i);
  return sum_lanes(total);
}

/// y += x
static void add(float* y, const float* x, int64_t n) {
  map(y, n, [](Vec a, Vec b) { return a + b; }, y, x);
}

}  // namespace striate::cpu::STRIATE_ISA
