// Local response normalisation of a tile: all channels of up to kLrnTile neighbouring places.
//
// A channel of x is s.L floats long, of which the tile has `places`; in the scratch arrays it is
// lrn_pitch(places) floats long, and the rest of it is zero. Lanes run over the places.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"
#include "striate/local_response_norm.h"

namespace striate::cpu::STRIATE_ISA {

/// sums[c] = constant + factor * sum of values[j] over c - down <= j <= c + up, for each place.
static inline void window_sums(float* sums, const float* values, int64_t C, int64_t pitch,
                               int64_t down, int64_t up, float constant, float factor) {
  for (int64_t c = 0; c < C; ++c) {
    const int64_t first = c < down ? 0 : c - down, last = C - 1 - c < up ? C - 1 : c + up;
    for (int64_t l = 0; l < pitch; l += kLanes) {
      Vec sum = {};
      for (int64_t j = first; j <= last; ++j) sum += load(values + j * pitch + l);
      store(sums + c * pitch + l, sum * factor + constant);
    }
  }
}

/// d = k + alpha / size * sum of x^2 over the window. `squares` is scratch.
static void lrn_bases(float* d, float* squares, const float* x, const LocalResponseNorm& s,
                      int64_t places) {
  const int64_t pitch = lrn_pitch(places);
  for (int64_t c = 0; c < s.C; ++c) {
    map(squares + c * pitch, places, [](Vec v) { return v * v; }, x + c * s.L);
    for (int64_t l = places; l < pitch; ++l) squares[c * pitch + l] = 0;
  }
  window_sums(d, squares, s.C, pitch, s.size / 2, (s.size - 1) / 2, static_cast<float>(s.k),
              static_cast<float>(s.alpha / s.size));
}

/// y = d^-0.75, to 2 units in the last place. The compiler makes vectors of it: each operation is
/// rounded correctly, so lanes and remainder agree.
static void lrn_power(float* y, const float* d, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float root = __builtin_sqrtf(d[i]);
    y[i] = 1.0f / (root * __builtin_sqrtf(root));
  }
}

static void lrn_forward(float* y, const float* x, const float* powers, const LocalResponseNorm& s,
                        int64_t places) {
  const int64_t pitch = lrn_pitch(places);
  for (int64_t c = 0; c < s.C; ++c) {
    map(
        y + c * s.L, places, [](Vec v, Vec power) { return v * power; }, x + c * s.L,
        powers + c * pitch);
  }
}

/// `powers` = d^-beta. `ratios` and `d` are scratch then.
static void lrn_backward(float* dx, const float* dy, const float* x, const float* powers, float* d,
                         float* ratios, const LocalResponseNorm& s, int64_t places) {
  const int64_t pitch = lrn_pitch(places);
  for (int64_t c = 0; c < s.C; ++c) {
    float* const ratio = ratios + c * pitch;
    map(
        ratio, places, [](Vec g, Vec v, Vec power, Vec base) { return g * v * power / base; },
        dy + c * s.L, x + c * s.L, powers + c * pitch, d + c * pitch);
    for (int64_t l = places; l < pitch; ++l) ratio[l] = 0;
  }
  window_sums(d, ratios, s.C, pitch, (s.size - 1) / 2, s.size / 2, 0.0f,
              static_cast<float>(2 * s.alpha * s.beta / s.size));
  for (int64_t c = 0; c < s.C; ++c) {
    map(
        dx + c * s.L, places, [](Vec g, Vec v, Vec power, Vec sum) { return g * power - v * sum; },
        dy + c * s.L, x + c * s.L, powers + c * pitch, d + c * pitch);
  }
}

}  // namespace striate::cpu::STRIATE_ISA
