// The patches under the kernel as rows of a matrix (im2col), and back (col2im): row k = (c, r, s)
// holds, for every output pixel, the input pixel that w[c, r, s] multiplies there.
#pragma once

#include "cpu/kernels/simd.h"
#include "striate/conv2d.h"

namespace striate::cpu::STRIATE_ISA {

/// Where kernel column s meets the image: outputs [begin, end) of a row read pixels, the others
/// padding; output `begin` reads column `first`.
struct Overlap {
  int64_t begin, end, first;
};

static inline int64_t ceil_div(int64_t a, int64_t b) { return a <= 0 ? 0 : (a + b - 1) / b; }

/// For output position p: input position p * stride + offset, which must be in [0, size).
static inline Overlap overlap(int64_t outputs, int64_t stride, int64_t offset, int64_t size) {
  int64_t begin = ceil_div(-offset, stride), end = ceil_div(size - offset, stride);
  if (end > outputs) end = outputs;
  if (begin > end) begin = end;
  return {begin, end, begin * stride + offset};
}

/// from[0], from[kStride], ...; reads kLanes * kStride floats.
template <int kStride>
static inline Vec load_every(const float* from) {
  if constexpr (kStride <= 1) {
    return load(from);
  } else {
    constexpr int kHalf = kStride / 2;
    return evens(load_every<kHalf>(from), load_every<kHalf>(from + kHalf * kLanes));
  }
}

// Whole vectors are written, past the end of a row: what stands there is written later, or is the
// slack of kLanes floats that col must have.
template <int kStride>
static inline void copy_row(float* to, const float* from, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store(to + i, load_every<kStride>(from + i * kStride));
}
static inline void zero_row(float* to, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store(to + i, Vec{});
}

/// im2col for one horizontal stride, or any: 0.
template <int kStride>
static void im2col_strided(float* col, int64_t ld, const float* x, const Conv2dShape& s, int64_t k0,
                           int64_t k1, int64_t p0, int64_t p1) {
  const float* const end = x + s.C / s.G * s.H * s.W;
  for (int64_t k = k0; k < k1; ++k) {
    const float* plane = x + k / (s.R * s.S) * s.H * s.W;
    const int64_t row_offset = k / s.S % s.R * s.dilation_h - s.pad_top;
    const Overlap o = overlap(s.Q, s.stride_w, k % s.S * s.dilation_w - s.pad_left, s.W);
    const int64_t n = o.end - o.begin;
    float* to = col + (k - k0) * ld;
    for (int64_t p = p0; p < p1; ++p, to += s.Q) {
      const int64_t h = p * s.stride_h + row_offset;
      if (h < 0 || h >= s.H) {
        zero_row(to, s.Q);
        continue;
      }
      const float* from = plane + h * s.W + o.first;
      if (o.begin > 0) zero_row(to, o.begin);
      if (kStride > 0 && end - from >= (n + kLanes) * kStride) {
        copy_row<kStride>(to + o.begin, from, n);
      } else {
        for (int64_t q = 0; q < n; ++q) to[o.begin + q] = from[q * s.stride_w];
      }
      if (o.end < s.Q) zero_row(to + o.end, s.Q - o.end);
    }
  }
}

/// Rows k0 <= k < k1, output rows p0 <= p < p1 of one group of one image x[C/G, H, W]:
/// col[(k - k0) * ld + (p - p0) * Q + q].
static void im2col(float* col, int64_t ld, const float* x, const Conv2dShape& s, int64_t k0,
                   int64_t k1, int64_t p0, int64_t p1) {
  const auto strided = s.stride_w == 1   ? im2col_strided<1>
                       : s.stride_w == 2 ? im2col_strided<2>
                       : s.stride_w == 4 ? im2col_strided<4>
                                         : im2col_strided<0>;
  strided(col, ld, x, s, k0, k1, p0, p1);
}

/// col2im for stride 1: every pixel of dx gathers what belongs to it, in registers. Adding to dx
/// row by row would wait, each time, for the store just before it.
static void gather_patches(float* dx, const float* col, int64_t ld, const Conv2dShape& s,
                           int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t h = 0; h < s.H; ++h) {
      for (int64_t w = 0; w < s.W; w += kLanes) {
        Vec sum = {};
        for (int64_t r = 0; r < s.R; ++r) {
          const int64_t p = h + s.pad_top - r * s.dilation_h;
          if (p < 0 || p >= s.P) continue;
          const float* row = col + (c * s.R + r) * s.S * ld + p * s.Q;
          for (int64_t t = 0; t < s.S; ++t, row += ld) {
            const int64_t q = w + s.pad_left - t * s.dilation_w;  // under the first lane
            if (q >= 0 && q + kLanes <= s.Q) {
              sum += load(row + q);
            } else if (q > -kLanes && q < s.Q) {
              sum += load_between(row + q, q < 0 ? -q : 0, s.Q - q < kLanes ? s.Q - q : kLanes);
            }
          }
        }
        float* to = dx + (c * s.H + h) * s.W + w;
        if (s.W - w >= kLanes) {
          store(to, sum);
        } else {
          store_first(to, sum, s.W - w);
        }
      }
    }
  }
}

/// dx[channels, H, W] = for every pixel the sum of the entries of col[channels R S, ld] that stand
/// for it, over all output pixels.
static void col2im(float* dx, const float* col, int64_t ld, const Conv2dShape& s,
                   int64_t channels) {
  if (s.stride_h == 1 && s.stride_w == 1) return gather_patches(dx, col, ld, s, channels);
  for (int64_t i = 0; i < channels * s.H * s.W; ++i) dx[i] = 0.0f;
  for (int64_t k = 0; k < channels * s.R * s.S; ++k) {
    float* plane = dx + k / (s.R * s.S) * s.H * s.W;
    const int64_t row_offset = k / s.S % s.R * s.dilation_h - s.pad_top;
    const Overlap o = overlap(s.Q, s.stride_w, k % s.S * s.dilation_w - s.pad_left, s.W);
    const Overlap rows = overlap(s.P, s.stride_h, row_offset, s.H);
    for (int64_t p = rows.begin; p < rows.end; ++p) {
      const float* from = col + k * ld + p * s.Q + o.begin;
      float* to = plane + (p * s.stride_h + row_offset) * s.W + o.first;
      for (int64_t q = 0; q < o.end - o.begin; ++q) to[q * s.stride_w] += from[q];
    }
  }
}

}  // namespace striate::cpu::STRIATE_ISA
