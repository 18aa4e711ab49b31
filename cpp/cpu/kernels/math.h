// exp, log, tanh (within 1.5 ulp) and sigmoid (2.5 ulp) of a vector, without tables or libm.
//
// Polynomials: S. Moshier, Cephes (expf, logf, tanhf). Denormal results may become zero, as
// everywhere inside a parallel_for.
#pragma once

#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

/// 2^n for -126 <= n <= 127, in each lane.
static inline Vec power_of_two(IntVec n) { return as_float((n + 127) << 23); }

/// exp(x): inf above 88.73, 0 below -104; NaN stays NaN.
static inline Vec exp(Vec x) {
  x = x > 89.0f ? broadcast(89.0f) : x;  // written so that NaN passes
  x = x < -104.0f ? broadcast(-104.0f) : x;

  // x = n ln 2 + r, |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer, and leaves it in the
  // low bits. ln 2 in two parts: n times the first is exact.
  const Vec shifter = broadcast(12582912.0f);
  const Vec shifted = x * 1.44269504088896341f + shifter;
  const IntVec n = as_int(shifted) - as_int(shifter);
  const Vec whole = shifted - shifter;
  Vec r = x - whole * 0.693359375f;
  r = r - whole * -2.12194440e-4f;

  Vec p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;

  const IntVec half = n >> 1;  // 2^n itself may be out of range where the result is not
  return p * power_of_two(half) * power_of_two(n - half);
}

/// log(x) of a normal x > 0; NaN stays NaN.
static inline Vec log(Vec x) {
  // x = m 2^n with sqrt(1/2) <= m < sqrt(2), so that m - 1 is exact and small.
  const IntVec bits = as_int(x);
  const IntVec n = (bits - 0x3f3504f3) >> 23;  // the bits of sqrt(1/2)
  const Vec r = as_float(bits - (n << 23)) - 1.0f;
  const Vec whole = __builtin_convertvector(n, Vec);

  Vec p = broadcast(7.0376836292e-2f);
  p = p * r + -1.1514610310e-1f;
  p = p * r + 1.1676998740e-1f;
  p = p * r + -1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r + -1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r + -2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  const Vec square = r * r;
  Vec tail = p * r * square;
  tail = tail + whole * -2.12194440e-4f;
  tail = tail - 0.5f * square;
  const Vec y = r + tail + whole * 0.693359375f;
  return x == x ? y : x;
}

static inline Vec tanh(Vec x) {
  const IntVec sign = as_int(x) & broadcast_int(INT32_MIN);
  const Vec a = as_float(as_int(x) & broadcast_int(INT32_MAX));

  // Near 0, x + x^3 P(x^2): 1 - 2 / (exp(2x) + 1) would cancel there.
  const Vec z = a * a;
  Vec p = broadcast(-5.70498872745e-3f);
  p = p * z + 2.06390887954e-2f;
  p = p * z + -5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z + -3.33332819422e-1f;
  const Vec near = p * z * a + a;

  const Vec far = 1.0f - 2.0f / (exp(a + a) + 1.0f);
  return as_float(as_int(a < 0.625f ? near : far) | sign);  // -0 stays -0
}

/// From exp(-|x|), which is at most 1: 1 + exp(-x) would lose a bit more where x is negative.
static inline Vec sigmoid(Vec x) {
  const Vec e = exp(as_float(as_int(x) | broadcast_int(INT32_MIN)));
  return (x < 0.0f ? e : broadcast(1.0f)) / (1.0f + e);
}

}  // namespace striate::cpu::STRIATE_ISA
