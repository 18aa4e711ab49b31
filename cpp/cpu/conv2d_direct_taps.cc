// conv2d's gradient of the weights without patches, for few input channels and a dy that is mostly
// not zero: vectors of output channels times broadcast pixels, some rows of the output at a time, so
// that dy (turned: channels last) and the rows of x under it stay in the cache.
#include <algorithm>

#include "cpu/conv2d_direct.h"
#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"

namespace striate::cpu {

void direct_conv2d_backward_weight_dense(float* dw, const float* dy, const float* x,
                                         const Conv2dShape& s) {
  constexpr int64_t kPixels =
      512;  // at a time: enough that loading the sums is cheap beside adding
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G, C = s.C / s.G;
  const int64_t channels = std::min<int64_t>(K, kernel.channel_lanes);
  const int64_t blocks = (K + channels - 1) / channels;
  const int64_t rows = even_part(s.P, std::max<int64_t>(1, kPixels / s.Q));
  const DirectRows layout(s, 1, (rows - 1) * s.stride_h + (s.R - 1) * s.dilation_h + 1);
  const DirectParts parts(s);
  const Scratch partial(parts.scratch());
  float* const to = parts.sums(dw, partial);

  // A piece: a block of output channels of one group, over one part of the batch.
  parallel_for(parts.count * s.G * blocks, 1, [&](int64_t piece, int64_t) {
    const int64_t g = piece / blocks % s.G, k = g * K + piece % blocks * channels;
    const int64_t count = std::min(channels, (g + 1) * K - k), part = piece / (s.G * blocks);
    const int64_t width = round_up(count, kernel.lanes);
    const Scratch copy(layout.size()), turned(rows * s.Q * width);
    LongSums sums(s.CRS() * width);
    std::fill_n(copy.get(), layout.size(), 0.0f);
    std::fill_n(turned.get(), rows * s.Q * width, 0.0f);  // the lanes past the channels
    const int64_t end = std::min((part + 1) * parts.images, s.N);
    for (int64_t n = part * parts.images; n < end; ++n) {
      for (int64_t p = 0; p < s.P; p += rows) {
        const int64_t high = std::min(rows, s.P - p);
        if (rows < s.P) std::fill_n(copy.get(), layout.size(), 0.0f);
        layout.copy(kernel, copy.get(), x + (n * s.G + g) * C * s.H * s.W, p * s.stride_h);
        kernel.transpose(turned.get(), width, dy + (n * s.K + k) * s.PQ() + p * s.Q, s.PQ(), count,
                         high * s.Q);
        kernel.direct_add_taps(count, sums.get(),
                               {.dy = turned.get(),
                                .x = copy.get(),
                                .P = high,
                                .Q = s.Q,
                                .C = C,
                                .R = s.R,
                                .S = s.S,
                                .x_row = s.stride_h * layout.row,
                                .x_step = s.stride_w,
                                .x_plane = layout.plane,
                                .x_tap_row = s.dilation_h * layout.row});
        sums.count(kernel, high * s.Q);
      }
    }
    kernel.turn_channels(to + part * parts.size + k * s.CRS(), s.CRS(), sums.total(kernel), width,
                         s.CRS(), count);
  });
  parts.add(dw, to);
}

}  // namespace striate::cpu
