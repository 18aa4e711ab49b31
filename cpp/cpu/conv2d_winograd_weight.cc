// conv2d's gradient of the weights by Winograd's minimal filtering: the transpose of what the
// forward pass does to its weights. With V the data at the points, as there, and E the values of dy's
// tiles at the points, the gradient at a point is the sum over tiles of E V^T; the transpose of the
// weights' transform brings it back to R x S taps.
//
//   V  [point][tile][C with full vectors]       of a block of images
//   E  [point][tile][K with full vectors]       of the same
//   D  [point][K][C with full vectors]          sums over blocks, in order
#include <algorithm>

#include "cpu/conv2d_algorithm.h"
#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"
#include "cpu/winograd.h"

namespace striate::cpu {
namespace {

// V and E together: twice as large as D, which every block reads and writes, within 16 and 32
// MiB. Smaller blocks stay in the cache, but D passes through it more often.
int64_t block_values(int64_t size_of_sums) {
  return std::clamp<int64_t>(2 * size_of_sums, int64_t{4} << 20, int64_t{8} << 20);
}

constexpr int64_t kSumDepth = 32;  // tiles that are added up before they are added to others
constexpr int64_t kRowsOfPiece = 128;

// Some lanes of channels, from channel c on, of image n of the block: into `values`, rows of ld
// channels. `planes` begins at the first of them; dy is evaluated, x interpolated.
void transform(const Kernels& kernel, WinogradTransform kind, float* values, int64_t ld, int64_t c,
               const float* planes, WinogradPlanes window, const WinogradBlock& block, int64_t n) {
  const int64_t L = kernel.lanes, top = block.h.first(block.row0);
  const bool data = kind == WinogradTransform::interpolate;
  const int more_h = data ? block.h.taps - 1 : 0, more_w = data ? block.w.taps - 1 : 0;
  window.rows = block.h.first(block.row1) - top + more_h;
  window.columns = block.w.first(block.w.tiles) + more_w;
  window.top += top;
  const Scratch pixels(window.rows * window.columns * L);
  kernel.planes_to_lanes(pixels.get(), planes, window);
  for (int64_t row = block.row0; row < block.row1; ++row) {
    for (int64_t column = 0; column < block.w.tiles; ++column) {
      const bool big_h = row < block.h.big, big_w = column < block.w.big;
      WinogradPlaces<float> to;
      for (int a = 0; a <= big_h; ++a) {
        for (int b = 0; b <= big_w; ++b) {
          const int64_t tile = block.first[a][b] + block.tile(a, b, n, row, column);
          to.at[a][b] = values + tile * ld + c;
          to.step[a][b] = block.tiles[a][b] * ld;
        }
      }
      const float* from =
          pixels.get() + ((block.h.first(row) - top) * window.columns + block.w.first(column)) * L;
      winograd_spread(kernel, kind, to, from, window.columns * L, block.h.m - !big_h + more_h,
                      block.w.m - !big_w + more_w, block.h, block.w, big_h, big_w);
    }
  }
}

// D[k0..k1] (+)= E V^T at one point. The transforms magnify the rounding errors of long sums, so
// they are sums of sums: of some tiles, of a block, of all blocks.
void multiply_point(const Kernels& kernel, float* D, const float* E, int64_t lde, const float* V,
                    int64_t ldv, int64_t tiles, int64_t k0, int64_t k1, int64_t C,
                    bool accumulate) {
  const Panels panels(k1 - k0, kernel.tile_rows);
  const Scratch sums(panels.rows * kernel.tile_columns);
  for (int64_t c = 0; c < C; c += kernel.tile_columns) {
    const int64_t columns = std::min<int64_t>(kernel.tile_columns, ldv - c);
    for (int64_t k = k0; k < k1; k += panels.rows) {
      const int64_t rows = std::min(panels.rows, k1 - k);
      float* const to = accumulate ? sums.get() : D + k * ldv + c;
      for (int64_t t = 0; t < tiles; t += kSumDepth) {
        kernel.winograd_weight_tile(rows, static_cast<int>(columns / kernel.lanes),
                                    {.c = to,
                                     .a = E + t * lde + k,
                                     .b = V + t * ldv + c,
                                     .K = std::min(kSumDepth, tiles - t),
                                     .lda = lde,
                                     .ldb = ldv,
                                     .ldc = accumulate ? kernel.tile_columns : ldv,
                                     .accumulate = t > 0});
      }
      for (int64_t i = 0; accumulate && i < rows; ++i) {
        kernel.add(D + (k + i) * ldv + c, to + i * kernel.tile_columns, columns);
      }
    }
  }
}

}  // namespace

void winograd_conv2d_backward_weight(float* dw, const float* dy, const float* x,
                                     const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const int64_t L = kernel.lanes, C = s.C / s.G, K = s.K / s.G, RS = s.R * s.S;
  const int64_t ldv = round_up(C, L), lde = round_up(K, L);
  const WinogradAxes axes(Conv2dPass::backward_weight, s);
  const WinogradAxis &h = axes.h, &w = axes.w;
  const int64_t points = axes.points();
  const WinogradBlocks blocks(axes, s.N, block_values(points * K * ldv) / (points * (ldv + lde)));
  const int64_t most = blocks.at(0).places;  // no block has more
  const Scratch V(most * ldv), E(most * lde), D(points * K * ldv);
  for (int64_t g = 0; g < s.G; ++g) {
    for (int64_t i = 0; i < blocks.count; ++i) {
      const WinogradBlock block = blocks.at(i);
      const int64_t lanes_v = ldv / L, lanes = lanes_v + lde / L;
      parallel_for(block.images * lanes, 1, [&](int64_t piece, int64_t) {
        const int64_t n = piece / lanes, lane = piece % lanes, image = block.image + n;
        if (lane < lanes_v) {
          const int64_t c = lane * L;
          transform(kernel, WinogradTransform::interpolate, V.get(), ldv, c,
                    x + ((image * s.G + g) * C + c) * s.H * s.W,
                    {.plane = s.H * s.W,
                     .channels = std::min(L, C - c),
                     .height = s.H,
                     .width = s.W,
                     .top = -s.pad_top,
                     .left = -s.pad_left,
                     .rows = 0,
                     .columns = 0},
                    block, n);
        } else {
          const int64_t k = (lane - lanes_v) * L;
          transform(kernel, WinogradTransform::evaluate, E.get(), lde, k,
                    dy + ((image * s.G + g) * K + k) * s.PQ(),
                    {.plane = s.PQ(),
                     .channels = std::min(L, K - k),
                     .height = s.P,
                     .width = s.Q,
                     .top = 0,
                     .left = 0,
                     .rows = 0,
                     .columns = 0},
                    block, n);
        }
      });
      // A piece: some channels out at one point. Which block has the first tile of a point decides
      // whether sums begin; the first one always has tiles at every point.
      const int64_t parts = (K + kRowsOfPiece - 1) / kRowsOfPiece,
                    high = even_part(K, kRowsOfPiece);
      parallel_for(points * parts, 1, [&](int64_t piece, int64_t) {
        const int64_t k0 = piece % parts * high, k1 = std::min(k0 + high, K);
        int64_t point = piece / parts;
        float* const sum = D.get() + point * K * ldv;
        int a = 0, b = 0;
        for (; point >= h.points(a) * w.points(b); b ^= 1, a += b == 0) {
          point -= h.points(a) * w.points(b);
        }
        const int64_t tiles = block.tiles[a][b], place = block.first[a][b] + point * tiles;
        if (tiles > 0 && k0 < k1) {
          multiply_point(kernel, sum, E.get() + place * lde, lde, V.get() + place * ldv, ldv, tiles,
                         k0, k1, C, i > 0);
        }
      });
    }
    parallel_for(K, std::max<int64_t>(1, 1024 / C), [&](int64_t begin, int64_t end) {
      const Scratch taps(RS * L);
      for (int64_t k = begin; k < end; ++k) {
        for (int64_t c = 0; c < C; c += L) {
          WinogradPlaces<const float> from;
          const float* next = D.get() + k * ldv + c;
          for (int a = 0; a < 2; ++a) {
            for (int b = 0; b < 2; ++b) {
              from.at[a][b] = next;
              from.step[a][b] = K * ldv;
              next += h.points(a) * w.points(b) * K * ldv;
            }
          }
          winograd_collect(kernel, taps.get(), s.S * L, from, static_cast<int>(s.R),
                           static_cast<int>(s.S), h, w, true, true);
          kernel.lanes_to_planes(dw + ((g * K + k) * C + c) * RS, RS, taps.get(), RS,
                                 std::min(L, C - c), nullptr, false);
        }
      }
    });
  }
}

}  // namespace striate::cpu
