// A 2x2 max pooling with stride 2 of rows that a convolution has just left in the cache, and the
// elements of its gradient that are not zero. As pool2d.h folds a window: row by row, the first of
// equal elements wins, and a NaN over numbers.
#pragma once

#include "cpu/kernels/conv2d_direct_backward.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

/// The largest of four, and which one it is by its index.
struct LargestOfFour {
  Vec value;
  IntVec index;

  LargestOfFour(Vec a, IntVec at) : value(a), index(at) {}
  void take(Vec v, IntVec at) {
    const IntVec wins = (v > value) | (v != v);
    value = wins ? v : value;
    index = wins ? at : index;
  }
};

static inline void store_ints(int32_t* p, IntVec v, int64_t n) {
  if (n >= kLanes) {
    *reinterpret_cast<UnalignedIntVec*>(p) = v;
  } else {
    store_first(reinterpret_cast<float*>(p), as_float(v), n);
  }
}

/// Of direct_pixels' rows x[channel][2 * P][Q'], Q' = t.x_row. Whole vectors are read: up to
/// 2 * kLanes floats past the last row.
static void direct_pool_pixels(int64_t channels, const DirectPool& t) {
  IntVec steps = {};
  for (int i = 0; i < kLanes; ++i) steps[i] = 2 * i;
  const auto row_step = static_cast<int32_t>(t.x_row);
  for (int64_t k = 0; k < channels; ++k) {
    for (int64_t p = 0; p < t.P; ++p) {
      for (int64_t block = 0; block < t.Q; block += kLanes) {
        // The last vector of a row overlaps the one before, unless there is none.
        const int64_t q = block + kLanes > t.Q && t.Q > kLanes ? t.Q - kLanes : block;
        const float* const top = t.x + k * t.x_channel + 2 * p * t.x_row + 2 * q;
        const float* const low = top + t.x_row;
        const Vec a = load(top), b = load(top + kLanes), c = load(low), d = load(low + kLanes);
        const IntVec at =
            steps + broadcast_int(t.first + static_cast<int32_t>(2 * (p * t.x_row + q)));
        LargestOfFour largest(evens(a, b), at);
        largest.take(odds(a, b), at + 1);
        largest.take(evens(c, d), at + row_step);
        largest.take(odds(c, d), at + row_step + 1);
        const int64_t to = k * t.y_channel + p * t.Q + q;
        if (t.Q >= kLanes) {
          store(t.y + to, largest.value);
        } else {
          store_first(t.y + to, largest.value, t.Q);
        }
        if (t.indices != nullptr) store_ints(t.indices + to, largest.index, t.Q);
      }
    }
  }
}

/// Of direct_channels' tile x[pixel][channels, padded to whole vectors]; `scratch` holds as much as
/// half of it.
static void direct_pool_channels(int64_t channels, const DirectPool& t, float* scratch) {
  const int64_t width = (channels + kLanes - 1) / kLanes * kLanes, pixels = t.P * t.Q;
  float* const indices = scratch + pixels * width;
  for (int64_t p = 0; p < t.P; ++p) {
    for (int64_t q = 0; q < t.Q; ++q) {
      const int64_t pixel = 2 * (p * t.x_row + q);
      const IntVec at = broadcast_int(t.first + static_cast<int32_t>(pixel));
      const auto row_step = static_cast<int32_t>(t.x_row);
      for (int64_t i = 0; i < width; i += kLanes) {
        const float* const top = t.x + pixel * width + i;
        const float* const low = top + t.x_row * width;
        LargestOfFour largest(load(top), at);
        largest.take(load(top + width), at + 1);
        largest.take(load(low), at + row_step);
        largest.take(load(low + width), at + row_step + 1);
        store(scratch + (p * t.Q + q) * width + i, largest.value);
        store(indices + (p * t.Q + q) * width + i, as_float(largest.index));
      }
    }
  }
  turn_channels(t.y, t.y_channel, scratch, width, pixels, channels);
  if (t.indices != nullptr) {
    turn_channels(reinterpret_cast<float*>(t.indices), t.y_channel, indices, width, pixels,
                  channels);
  }
}

/// direct_nonzeros for the plane whose gradient is that of its pooled map: dy goes to the element
/// that `indices` names, unless the pooled value y is not above zero (ReLU). The elements come in the
/// order of the plane, whose rows are Q long.
static int64_t direct_pooled_nonzeros(int32_t* at, float* value, const DirectPooledDy& t,
                                      const int32_t* place, int64_t P, int64_t Q, int64_t plane_Q) {
  int64_t count = 0;
  for (int64_t p = 0; p < P; ++p) {
    const auto low_row = static_cast<int32_t>((2 * p + 1) * plane_Q);
    for (int low = 0; low < 2; ++low) {
      for (int64_t q = 0; q < Q; q += kLanes) {
        const int64_t from = p * Q + q, n = Q - q;
        const Vec d = load_some(t.dy + from, n), y = load_some(t.y + from, n);
        const IntVec index = load_ints(t.indices + from, n);
        const IntVec here = low == 1 ? index >= low_row : index < low_row;
        const uint32_t mask = lanes_of((d != 0.0f) & ~(y <= 0.0f) & here);
        if (mask != 0) count += append(at + count, value + count, index, d, mask);
      }
    }
  }
  for (int64_t i = 0; i < count; ++i) at[i] = place[at[i]];
  return count;
}

}  // namespace striate::cpu::STRIATE_ISA
