// What the passes of direct convolution share: the padded copy of an image, and
// how long sums are cut.
#pragma once

#include <algorithm>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"
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

/// Parts of the batch whose sums of the weights' gradient are added in order: at most 16, as many as
/// 16 MiB of sums allow, and none of less work than adding up its sums is worth.
struct DirectParts {
  int64_t size, images, count;

  explicit DirectParts(const Conv2dShape& s) : size(s.K * s.CRS()) {
    constexpr int64_t kMostFloats = 4 << 20, kLeastWork = 1 << 20;  // multiplications
    const int64_t most =
        std::clamp<int64_t>(std::min(kMostFloats / size, s.N * s.PQ() * size / kLeastWork), 1, 16);
    images = even_part(s.N, (s.N + most - 1) / most);
    count = (s.N + images - 1) / images;
  }

  /// Where the parts' sums go, one after the other: dw itself if there is but one.
  float* sums(float* dw, const Scratch& scratch) const { return count > 1 ? scratch.get() : dw; }
  int64_t scratch() const { return count > 1 ? count * size : 0; }

  void add(float* dw, const float* sums) const {
    if (count == 1) return;
    parallel_for(size, streaming_grain(4 * count), [&](int64_t begin, int64_t end) {
      std::copy(sums + begin, sums + end, dw + begin);
      for (int64_t i = 1; i < count; ++i) {
        kernels().add(dw + begin, sums + i * size + begin, end - begin);
      }
    });
  }
};

/// Sums that grow for so many pixels are added to a total and start again: rounding errors grow with
/// the root of a sum's length.
constexpr int64_t kLongestSum = 4096;

class LongSums {
 public:
  explicit LongSums(int64_t floats) : size_(floats), data_(2 * floats) {
    std::fill_n(data_.get(), 2 * size_, 0.0f);
  }

  /// What the kernels add to.
  float* get() const { return data_.get(); }

  /// Says that so many pixels were added.
  void count(const Kernels& kernels, int64_t pixels) {
    pixels_ += pixels;
    if (pixels_ >= kLongestSum) flush(kernels);
  }

  /// The sums of all that was added.
  const float* total(const Kernels& kernels) {
    flush(kernels);
    return data_.get() + size_;
  }

 private:
  void flush(const Kernels& kernels) {
    kernels.add(data_.get() + size_, data_.get(), size_);
    std::fill_n(data_.get(), size_, 0.0f);
    pixels_ = 0;
  }

  int64_t size_, pixels_ = 0;
  const Scratch data_;
};

/// The gradient of the weights for a dy that is mostly not zero.
void direct_conv2d_backward_weight_dense(float* dw, const float* dy, const float* x,
                                         const Conv2dShape& s);

}  // namespace striate::cpu
