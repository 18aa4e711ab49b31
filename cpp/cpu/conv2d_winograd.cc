// conv2d by Winograd's minimal filtering: the data of some tiles are transformed into values at the
// points (V), each point's values are multiplied by the weights there (U), summed over channels, and
// the sums (M) transformed into outputs.
//
//   U  [group][block of K][point][C][columns]   prepared once, read once per block of tiles
//   V  [point][panel of tiles][C / lanes][tile][lanes]
//   M  [point][tile][columns]
//
// where a block of K has as many columns as a register tile. V of a block of tiles may be larger than
// L2, and U is, but each is read as one stream: an element of U serves some 40 tiles, one of V a whole
// block of K; M, which is written and read at once, stays in L2.
#include <algorithm>

#include "cpu/conv2d_algorithm.h"
#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"
#include "cpu/winograd.h"

namespace striate::cpu {
namespace {

constexpr int64_t kTiles = 42;     // of a block: three times the rows of a register tile
constexpr int64_t kSumDepth = 32;  // channels that are added up before they are added to others
constexpr int64_t kFewBlocks = 8;  // below which the work is cut along channels, too

struct Work {
  const Kernels& kernel;
  const Conv2dShape& s;
  int64_t C, K, channels, columns, blocks_k;  // of a group; channels: C with full vectors

  Work(const Kernels& kernels, const Conv2dShape& shape)
      : kernel(kernels),
        s(shape),
        C(s.C / s.G),
        K(s.K / s.G),
        channels(round_up(C, kernels.lanes)),
        columns(kernels.tile_columns),
        blocks_k((K + columns - 1) / columns) {}
};

// A block's input, some lanes of channels of group g from channel c on: into V.
void transform_data(const Work& work, float* V, const float* x, const WinogradBlock& block,
                    int64_t g, int64_t c) {
  const Kernels& kernel = work.kernel;
  const Conv2dShape& s = work.s;
  const int64_t L = kernel.lanes, width = s.Q + s.S - 1;
  const int64_t top = block.h.first(block.row0);
  const int64_t high = block.h.first(block.row1) - top + s.R - 1;
  const Scratch pixels(high * width * L);
  for (int64_t n = 0; n < block.images; ++n) {
    kernel.planes_to_lanes(pixels.get(),
                           x + (((block.image + n) * s.G + g) * work.C + c) * s.H * s.W,
                           {.plane = s.H * s.W,
                            .channels = std::min(L, work.C - c),
                            .height = s.H,
                            .width = s.W,
                            .top = top - s.pad_top,
                            .left = -s.pad_left,
                            .rows = high,
                            .columns = width});
    for (int64_t row = block.row0; row < block.row1; ++row) {
      for (int64_t column = 0; column < block.w.tiles; ++column) {
        const bool big_h = row < block.h.big, big_w = column < block.w.big;
        WinogradPlaces<float> to;
        for (int a = 0; a <= big_h; ++a) {
          for (int b = 0; b <= big_w; ++b) {
            const int64_t tiles = block.tiles[a][b];
            const Panels panels(tiles, kernel.tile_rows);
            const int64_t tile = block.tile(a, b, n, row, column);
            const int64_t m = tile / panels.rows * panels.rows;
            const int64_t rows = std::min(panels.rows, tiles - m);
            to.at[a][b] = V + (block.first[a][b] + m) * work.channels + c * rows + (tile - m) * L;
            to.step[a][b] = tiles * work.channels;
          }
        }
        const float* from =
            pixels.get() + ((block.h.first(row) - top) * width + block.w.first(column)) * L;
        winograd_spread(kernel, WinogradTransform::interpolate, to, from, width * L,
                        block.h.points() - !big_h, block.w.points() - !big_w, block.h, block.w,
                        big_h, big_w);
      }
    }
  }
}

// M = V U for one block of K. Sums over many channels are made of sums over few: the transforms
// magnify the rounding errors of long ones.
void multiply_points(const Work& work, float* M, const float* V, const float* U,
                     const WinogradBlock& block, int64_t k) {
  const int vectors = work.K - k > work.kernel.lanes ? 2 : 1;
  for (int a = 0; a < 2; ++a) {
    for (int b = 0; b < 2; ++b) {
      const int64_t tiles = block.tiles[a][b];
      const Panels panels(tiles, work.kernel.tile_rows);
      for (int point = 0; point < block.h.points(a) * block.w.points(b); ++point) {
        const int64_t place = block.first[a][b] + point * tiles;
        for (int64_t c = 0; c < work.C; c += kSumDepth) {
          for (int64_t m = 0; m < tiles; m += panels.rows) {
            const int64_t rows = std::min(panels.rows, tiles - m);
            work.kernel.winograd_tile(rows, vectors,
                                      {.c = M + (place + m) * work.columns,
                                       .a = V + (place + m) * work.channels + c * rows,
                                       .b = U + c * work.columns,
                                       .K = std::min(kSumDepth, work.C - c),
                                       .lda = 0,
                                       .ldb = work.columns,
                                       .ldc = work.columns,
                                       .accumulate = c > 0});
          }
        }
        U += work.C * work.columns;
      }
    }
  }
}

// A block of K's outputs from M, with bias and ReLU.
void transform_output(const Work& work, float* y, const float* M, const Conv2dFinish& finish,
                      const WinogradBlock& block, int64_t g, int64_t k) {
  const Kernels& kernel = work.kernel;
  const Conv2dShape& s = work.s;
  const int64_t L = kernel.lanes, top = block.h.first(block.row0);
  const Scratch pixels(block.pixels() * L);
  for (int64_t n = 0; n < block.images; ++n) {
    for (int64_t lane = 0; lane < work.columns && k + lane < work.K; lane += L) {
      for (int64_t row = block.row0; row < block.row1; ++row) {
        for (int64_t column = 0; column < block.w.tiles; ++column) {
          const bool big_h = row < block.h.big, big_w = column < block.w.big;
          WinogradPlaces<const float> from;
          for (int a = 0; a <= big_h; ++a) {
            for (int b = 0; b <= big_w; ++b) {
              const int64_t tile = block.tile(a, b, n, row, column);
              from.at[a][b] = M + (block.first[a][b] + tile) * work.columns + lane;
              from.step[a][b] = block.tiles[a][b] * work.columns;
            }
          }
          winograd_collect(
              kernel, pixels.get() + ((block.h.first(row) - top) * s.Q + block.w.first(column)) * L,
              s.Q * L, from, block.h.m - !big_h, block.w.m - !big_w, block.h, block.w, big_h,
              big_w);
        }
      }
      const int64_t first = g * work.K + k + lane;
      kernel.lanes_to_planes(y + ((block.image + n) * s.K + first) * s.PQ() + top * s.Q, s.PQ(),
                             pixels.get(), block.pixels(), std::min(L, work.K - k - lane),
                             finish.bias == nullptr ? nullptr : finish.bias + first, finish.relu);
    }
  }
}

}  // namespace

template <Conv2dPass kPass>
int64_t winograd_weights_size(const Conv2dShape& s) {
  const Work work(kernels(), s);
  return s.G * work.blocks_k * WinogradAxes(kPass, s).points() * work.C * work.columns;
}

template <Conv2dPass kPass>
void winograd_prepare_weights(float* prepared, const float* w, const Conv2dShape& s) {
  constexpr int64_t kChannels = 16;  // that are transformed together
  const Kernels& kernel = kernels();
  const Work work(kernel, s);
  const int64_t L = kernel.lanes, RS = s.R * s.S;
  const WinogradAxes axes(kPass, s);
  const int64_t parts = (work.C + kChannels - 1) / kChannels;
  parallel_for(s.G * work.blocks_k * parts, 1, [&](int64_t i, int64_t) {
    const int64_t g = i / (work.blocks_k * parts), k = i / parts % work.blocks_k * work.columns;
    const int64_t c = i % parts * kChannels, count = std::min(kChannels, work.C - c);
    float* const U = prepared + (i / parts * axes.points() * work.C + c) * work.columns;
    const int64_t point = work.C * work.columns;
    const Scratch taps(count * RS * L);
    for (int64_t lane = 0; lane < work.columns && k + lane < work.K; lane += L) {
      kernel.planes_to_lanes(taps.get(), w + ((g * work.K + k + lane) * work.C + c) * RS,
                             {.plane = work.C * RS,
                              .channels = std::min(L, work.K - k - lane),
                              .height = 1,
                              .width = count * RS,
                              .top = 0,
                              .left = 0,
                              .rows = 1,
                              .columns = count * RS});
      for (int64_t j = 0; j < count; ++j) {
        WinogradPlaces<float> to;
        float* next = U + j * work.columns + lane;
        for (int a = 0; a < 2; ++a) {
          for (int b = 0; b < 2; ++b) {
            to.at[a][b] = next;
            to.step[a][b] = point;
            next += axes.h.points(a) * axes.w.points(b) * point;
          }
        }
        winograd_spread(kernel, WinogradTransform::evaluate, to, taps.get() + j * RS * L, s.S * L,
                        static_cast<int>(s.R), static_cast<int>(s.S), axes.h, axes.w, true, true);
      }
    }
  });
}

template <Conv2dPass kPass>
void winograd_conv2d_forward(float* y, const float* x, const float* prepared,
                             const Conv2dFinish& finish, const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const Work work(kernel, s);
  const WinogradBlocks blocks(WinogradAxes(kPass, s), s.N, kTiles);
  const int64_t U_size = blocks.axes.points() * work.C * work.columns;
  const auto finish_block = [&](const float* V, const WinogradBlock& block, int64_t g, int64_t k) {
    const Scratch M(block.places * work.columns);
    multiply_points(work, M.get(), V, prepared + (g * work.blocks_k + k) * U_size, block,
                    k * work.columns);
    transform_output(work, y, M.get(), finish, block, g, k * work.columns);
  };
  if (s.G * blocks.count >= kFewBlocks) {
    parallel_for(s.G * blocks.count, 1, [&](int64_t i, int64_t) {
      const WinogradBlock block = blocks.at(i / s.G);
      const int64_t g = i % s.G;
      const Scratch V(block.places * work.channels);
      for (int64_t c = 0; c < work.C; c += kernel.lanes) {
        transform_data(work, V.get(), x, block, g, c);
      }
      for (int64_t k = 0; k < work.blocks_k; ++k) finish_block(V.get(), block, g, k);
    });
    return;
  }
  for (int64_t i = 0; i < s.G * blocks.count; ++i) {
    const WinogradBlock block = blocks.at(i / s.G);
    const int64_t g = i % s.G;
    const Scratch V(block.places * work.channels);
    parallel_for(work.channels / kernel.lanes, 1, [&](int64_t c, int64_t) {
      transform_data(work, V.get(), x, block, g, c * kernel.lanes);
    });
    parallel_for(work.blocks_k, 1, [&](int64_t k, int64_t) { finish_block(V.get(), block, g, k); });
  }
}

template int64_t winograd_weights_size<Conv2dPass::forward>(const Conv2dShape&);
template int64_t winograd_weights_size<Conv2dPass::backward_data>(const Conv2dShape&);
template void winograd_prepare_weights<Conv2dPass::forward>(float*, const float*,
                                                            const Conv2dShape&);
template void winograd_prepare_weights<Conv2dPass::backward_data>(float*, const float*,
                                                                  const Conv2dShape&);
template void winograd_conv2d_forward<Conv2dPass::forward>(float*, const float*, const float*,
                                                           const Conv2dFinish&, const Conv2dShape&);
template void winograd_conv2d_forward<Conv2dPass::backward_data>(float*, const float*, const float*,
                                                                 const Conv2dFinish&,
                                                                 const Conv2dShape&);

}  // namespace striate::cpu
