// The gradient of the mean pool, plane by plane.
//
// A row of dx is a sum over the rows of windows that hold it, and in each over the windows: first
// the rows' shares are summed, q by q, and then those sums along the row. Each element of dx so
// sums in the order of p and q, wherever it lies.
#pragma once

#include "cpu/kernels/simd.h"
#include "striate/pool2d.h"

namespace striate::cpu::STRIATE_ISA {

// A vector path serves these windows; its scratch grows with them.
constexpr int64_t kWidestWindow = 32;
static inline bool is_narrow(const Pool2dShape& s) {
  return s.stride_w <= 2 && s.S <= kWidestWindow;
}

/// line[s.left + w] = dx[w] = sum of t[q] over the windows q that hold column w. t is zero for
/// kWidestWindow places before its first element, and behind its last; whole vectors are written.
template <int kStride>
static void spread_row(float* line, const float* t, const Pool2dShape& s) {
  for (int64_t j = 0; j * kStride < s.left + s.W; j += kLanes) {
    Vec phases[kStride];  // the columns j * kStride + phase
    for (int phase = 0; phase < kStride; ++phase) {
      phases[phase] = Vec{};
      if (phase >= s.S) continue;
      for (int64_t m = (s.S - 1 - phase) / kStride; m >= 0; --m) phases[phase] += load(t + j - m);
    }
    if constexpr (kStride == 1) {
      store(line + j, phases[0]);
    } else {
      store(line + 2 * j, interleave_low(phases[0], phases[1]));
      store(line + 2 * j + kLanes, interleave_high(phases[0], phases[1]));
    }
  }
}

static void spread_row_any(float* dx, const float* t, const Pool2dShape& s) {
  for (int64_t w = 0; w < s.W; ++w) dx[w] = 0;
  for (int64_t q = 0; q < s.Q; ++q) {
    const int64_t begin = q * s.stride_w - s.left, end = begin + s.S;
    for (int64_t w = begin < 0 ? 0 : begin; w < (end < s.W ? end : s.W); ++w) dx[w] += t[q];
  }
}

/// Where the parts of the scratch begin; `size` is its length in floats.
struct AvgPool2dScratch {
  int64_t mask, sums, line, size;
};

static inline AvgPool2dScratch avg_pool2d_layout(const Pool2dShape& s) {
  const int64_t width = is_narrow(s) ? s.left + s.W : 0;
  AvgPool2dScratch at = {};
  at.mask = s.P * s.Q + kLanes;  // behind the shares
  at.sums = at.mask + s.Q + kLanes + kWidestWindow;
  at.line = at.sums + (s.Q > width ? s.Q : width) + 2 * kLanes;
  at.size = at.line + width + 4 * kLanes;
  return at;
}

static int64_t avg_pool2d_scratch(const Pool2dShape& s) { return avg_pool2d_layout(s).size; }

/// Planes [begin, end) of the N * C; divisors (P, Q). Scratch: avg_pool2d_scratch(s) floats.
static void avg_pool2d_backward(float* dx, const float* dy, const float* divisors,
                                const Pool2dShape& s, int64_t begin, int64_t end, float* scratch) {
  const AvgPool2dScratch at = avg_pool2d_layout(s);
  float* const shares = scratch;          // dy / divisors
  float* const mask = scratch + at.mask;  // its bits are ones for q < Q, else zeros
  float* const sums = scratch + at.sums;  // of the shares of the windows over one row of dx
  float* const line = scratch + at.line;
  for (int64_t i = 0; i < at.size; ++i) scratch[i] = 0;
  for (int64_t q = 0; q < s.Q; q += kLanes) {
    store_first(mask + q, as_float(broadcast_int(-1)), s.Q - q < kLanes ? s.Q - q : kLanes);
  }
  const float* const dx_end = dx + end * s.H * s.W;
  for (int64_t nc = begin; nc < end; ++nc) {
    map(shares, s.P * s.Q, [](Vec g, Vec d) { return g / d; }, dy + nc * s.P * s.Q, divisors);
    int64_t p = 0, p_end = 0;  // the rows of windows over row h
    for (int64_t h = 0; h < s.H; ++h) {
      float* const row = dx + (nc * s.H + h) * s.W;
      const int64_t p_before = p, p_end_before = p_end;
      while (p_end < s.P && p_end * s.stride_h - s.top <= h) ++p_end;
      while (p < p_end && p * s.stride_h - s.top + s.R <= h) ++p;
      if (h > 0 && p == p_before && p_end == p_end_before) {  // the same windows, the same sums
        for (int64_t w = 0; w < s.W; ++w) row[w] = row[w - s.W];
        continue;
      }
      for (int64_t q = 0; q < s.Q; q += kLanes) {
        Vec sum = {};
        for (int64_t i = p; i < p_end; ++i) sum += load(shares + i * s.Q + q);
        store(sums + q, as_float(as_int(sum) & as_int(load(mask + q))));
      }
      if (!is_narrow(s)) {
        spread_row_any(row, sums, s);
        continue;
      }
      // What is written past the row's end is in a row that is written later, or in `line`.
      const bool direct = s.left == 0 && dx_end - row >= s.W + 2 * kLanes;
      if (s.stride_w == 1) {
        spread_row<1>(direct ? row : line, sums, s);
      } else {
        spread_row<2>(direct ? row : line, sums, s);
      }
      if (!direct) map(row, s.W, [](Vec v) { return v; }, line + s.left);
    }
  }
}

}  // namespace striate::cpu::STRIATE_ISA
