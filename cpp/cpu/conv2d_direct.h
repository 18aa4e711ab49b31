// What the passes of direct convolution share: the padded copy of an image.
#pragma once

#include <algorithm>

#include "cpu/isa.h"
#include "striate/conv2d.h"

namespace striate::cpu {

/// Some rows of the padded image of one group, in phases (see DirectLayout): plane[c] holds rows of
/// `row` floats.
class DirectRows {
 public:
  /// Rows of less than `least` floats are made that long.
  DirectRows(const Conv2dShape& shape, int64_t phase_count, int64_t row_count, int64_t least = 0)
      : s(shape), phases(phase_count), rows(row_count) {
    const int64_t columns = (s.Q - 1) * s.stride_w + (s.S - 1) * s.dilation_w + 1;
    phase_size = (columns + phases - 1) / phases;
    row = std::max(phases * phase_size, least);
    plane = rows * row;
  }

  int64_t size() const { return s.C / s.G * plane; }

  /// Copies what the image x[C / G, H, W] has of the rows from padded row h0 on; the rest of `to`
  /// stays.
  void copy(const Kernels& kernels, float* to, const float* x, int64_t h0) const {
    const int64_t first = h0 - s.pad_top;  // image row
    const int64_t begin = std::max<int64_t>(first, 0), end = std::min(first + rows, s.H);
    const int64_t left = std::max<int64_t>(-s.pad_left, 0);
    const int64_t right = std::min(s.W, phases * phase_size - s.pad_left);
    if (begin >= end || left >= right) return;
    kernels.direct_lay_out(to + (begin - first) * row, x + begin * s.W + left,
                           {.channels = s.C / s.G,
                            .rows = end - begin,
                            .columns = right - left,
                            .x_plane = s.H * s.W,
                            .x_row = s.W,
                            .plane = plane,
                            .row = row,
                            .phases = phases,
                            .phase_size = phase_size,
                            .first = s.pad_left + left});
  }

  int64_t phase_size, row, plane;

 private:
  const Conv2dShape& s;
  int64_t phases, rows;
};

}  // namespace striate::cpu
