// Multiply-adds in registers and nothing else: what no kernel can exceed (cpu/peak.h).
#pragma once

#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

// Sums that do not wait for one another. Two are begun in a cycle and take four (without FMA seven)
// cycles: 12 suffice, and fit AVX2's 16 registers beside both operands.
constexpr int kPeakSums = 12;

static float multiply_add_loop(int64_t rounds, float a, float b) {
  const Vec factor = broadcast(a), term = broadcast(b);
  Vec sums[kPeakSums];
  for (int i = 0; i < kPeakSums; ++i) sums[i] = broadcast(static_cast<float>(i));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kPeakSums; ++i) sums[i] = sums[i] * factor + term;
  }
  Vec total = {};
  for (int i = 0; i < kPeakSums; ++i) total += sums[i];
  return sum_lanes(total);
}

/// The sum of x, in as many independent sums: waits for memory, not for the last addition.
static float read_loop(const float* x, int64_t n) {
  constexpr int kSums = 8;
  Vec sums[kSums] = {};
  for (int64_t i = 0; i + kSums * kLanes <= n; i += kSums * kLanes) {
#pragma GCC unroll 8
    for (int j = 0; j < kSums; ++j) sums[j] += load(x + i + j * kLanes);
  }
  Vec total = {};
  for (int j = 0; j < kSums; ++j) total += sums[j];
  return sum_lanes(total);
}

}  // namespace striate::cpu::STRIATE_ISA
