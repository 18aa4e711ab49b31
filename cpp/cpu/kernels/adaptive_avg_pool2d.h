// The adaptive mean pool: first down the columns of a window, which vectors do, and then along the
// one row that is left.
#pragma once

#include "cpu/kernels/simd.h"
#include "striate/adaptive_avg_pool2d.h"

namespace striate::cpu::STRIATE_ISA {

static inline float window_size(const AdaptiveWindow& rows, const AdaptiveWindow& columns) {
  return static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
}

/// Planes [begin, end) of the N * C. rows (P) and columns (Q) are the windows; line: W floats.
static void adaptive_avg_pool2d_forward(float* y, const float* x, const AdaptiveAvgPool2dShape& s,
                                        const AdaptiveWindow* rows, const AdaptiveWindow* columns,
                                        int64_t begin, int64_t end, float* line) {
  for (int64_t nc = begin; nc < end; ++nc) {
    const float* const plane = x + nc * s.H * s.W;
    for (int64_t p = 0; p < s.P; ++p) {
      const int64_t first = rows[p].begin * s.W, last = rows[p].end * s.W;
      int64_t w = 0;
      for (; w + kLanes <= s.W; w += kLanes) {
        Vec sum = load(plane + first + w);
        for (int64_t h = first + s.W; h < last; h += s.W) sum += load(plane + h + w);
        store(line + w, sum);
      }
      if (const int64_t rest = s.W - w; rest > 0) {
        Vec sum = load_first(plane + first + w, rest);
        for (int64_t h = first + s.W; h < last; h += s.W) sum += load_first(plane + h + w, rest);
        store_first(line + w, sum, rest);
      }
      float* const to = y + (nc * s.P + p) * s.Q;
      for (int64_t q = 0; q < s.Q; ++q) {
        float sum = line[columns[q].begin];
        for (int64_t i = columns[q].begin + 1; i < columns[q].end; ++i) sum += line[i];
        to[q] = sum / window_size(rows[p], columns[q]);
      }
    }
  }
}

/// The other way: each row of dy becomes the line that all rows of its window add up.
static void adaptive_avg_pool2d_backward(float* dx, const float* dy,
                                         const AdaptiveAvgPool2dShape& s,
                                         const AdaptiveWindow* rows, const AdaptiveWindow* columns,
                                         int64_t begin, int64_t end, float* line) {
  for (int64_t nc = begin; nc < end; ++nc) {
    int64_t written = 0;  // rows of dx that an earlier window has begun
    for (int64_t p = 0; p < s.P; ++p) {
      const float* const from = dy + (nc * s.P + p) * s.Q;
      for (int64_t w = 0; w < s.W; ++w) line[w] = 0;
      for (int64_t q = 0; q < s.Q; ++q) {
        const float share = from[q] / window_size(rows[p], columns[q]);
        for (int64_t w = columns[q].begin; w < columns[q].end; ++w) line[w] += share;
      }
      for (int64_t h = rows[p].begin; h < rows[p].end; ++h) {
        float* const to = dx + (nc * s.H + h) * s.W;
        if (h < written) {
          map(to, s.W, [](Vec a, Vec b) { return a + b; }, to, line);
        } else {
          map(to, s.W, [](Vec a) { return a; }, line);
        }
      }
      written = rows[p].end;
    }
  }
}

}  // namespace striate::cpu::STRIATE_ISA
