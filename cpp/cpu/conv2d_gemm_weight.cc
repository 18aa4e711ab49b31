// conv2d's gradient of the weights by GEMM. The patches under the kernel (im2col) are laid
// out a slice at a time, as in conv2d_gemm.cc; the sums run over the pixels of all images, in parts that
// are added in order.
#include <algorithm>

#include "cpu/conv2d_algorithm.h"
#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"

namespace striate::cpu {
namespace {

constexpr int64_t kFewChannels = 32;  // which fill less than two register tiles

// Some images' share of the weights' gradient, for one group and the columns (c, r, s) of
// [begin, end): dw = dy patches^T, the sum running over pixels. First for many channels: both are
// turned so that a register tile finds channels side by side, a slice of pixels at a time.
void add_weight_tiles(const Kernels& kernels, float* dw, const float* dy, const float* x,
                      const Conv2dShape& s, int64_t images, int64_t begin, int64_t end) {
  const int64_t K = s.K / s.G, width = kernels.tile_columns;
  const int64_t at_once = std::clamp<int64_t>(kDepth / s.PQ(), 1, images);
  const int64_t rows = even_part(s.P, std::max<int64_t>(1, kDepth / s.Q));
  const int64_t most = at_once * rows * s.Q, ld = round_up(most, kernels.lanes) + kernels.lanes;
  const Panels panels(K, kernels.tile_rows);
  const Scratch packed(K * most), col(width * ld + kernels.lanes), tile(most * width);
  for (int64_t n = 0; n < images; n += at_once) {
    const int64_t count = std::min(at_once, images - n);
    for (int64_t p = 0; p < s.P; p += rows) {
      const int64_t p1 = std::min(p + rows, s.P), pixels = (p1 - p) * s.Q, depth = count * pixels;
      for (int64_t m = 0; m < K; m += panels.rows) {
        const int64_t high = std::min(panels.rows, K - m);
        for (int64_t i = 0; i < count; ++i) {
          kernels.transpose(packed.get() + m * depth + i * pixels * high, high,
                            dy + ((n + i) * s.K + m) * s.PQ() + p * s.Q, s.PQ(), high, pixels);
        }
      }
      for (int64_t j = begin; j < end; j += width) {
        const int64_t columns = std::min(width, end - j);
        for (int64_t i = 0; i < count; ++i) {
          kernels.im2col(col.get() + i * pixels, ld, x + (n + i) * s.C * s.H * s.W, s, j,
                         j + columns, p, p1);
        }
        if (columns < width) std::fill_n(tile.get(), depth * width, 0.0f);
        kernels.transpose(tile.get(), width, col.get(), ld, columns, depth);
        multiply(kernels, dw + j, s.CRS(), packed.get(), panels, depth, {tile.get(), width, 0},
                 columns, nullptr, n + p > 0);
      }
    }
  }
}

// How many columns make a piece: enough that turning dy is cheap beside multiplying, few enough to
// leave some 16 pieces.
int64_t columns_of_tiles(const Kernels& kernels, const Conv2dShape& s, int64_t others) {
  constexpr int64_t kMostColumns = 512, kPieces = 16;
  const int64_t blocks = std::max<int64_t>((s.CRS() + kMostColumns - 1) / kMostColumns,
                                           (kPieces + others - 1) / others);
  return round_up((s.CRS() + blocks - 1) / blocks, kernels.tile_columns);
}

// Then for few channels, which would not fill a tile: the sums run along the vectors.
void add_weight_dots(const Kernels& kernels, float* dw, const float* dy, const float* x,
                     const Conv2dShape& s, int64_t images, int64_t begin, int64_t end) {
  const int64_t K = s.K / s.G, columns = end - begin, col_size = columns * s.PQ();
  const int64_t at_once = std::clamp<int64_t>(kBlockFloats / col_size, 1, images);
  const Scratch col(at_once * col_size + kernels.lanes);
  for (int64_t n = 0; n < images; n += at_once) {
    const int64_t count = std::min(at_once, images - n);
    for (int64_t i = 0; i < count; ++i) {
      kernels.im2col(col.get() + i * col_size, s.PQ(), x + (n + i) * s.C * s.H * s.W, s, begin, end,
                     0, s.P);
    }
    for (int64_t j = 0; j < columns; j += kernels.dot_columns) {
      for (int64_t k = 0; k < K; k += kernels.dot_rows) {
        kernels.gemm_dot(std::min<int64_t>(kernels.dot_rows, K - k),
                         std::min<int64_t>(kernels.dot_columns, columns - j),
                         {.c = dw + k * s.CRS() + begin + j,
                          .a = dy + (n * s.K + k) * s.PQ(),
                          .b = col.get() + j * s.PQ(),
                          .K = s.PQ(),
                          .batch = count,
                          .a_step = s.K * s.PQ(),
                          .b_step = col_size,
                          .lda = s.PQ(),
                          .ldb = s.PQ(),
                          .ldc_row = s.CRS(),
                          .ldc_column = 1,
                          .accumulate = n > 0});
      }
    }
  }
}

int64_t columns_of_dots(const Conv2dShape& s) {
  const int64_t RS = s.R * s.S;
  return RS * even_part(s.C / s.G, std::max<int64_t>(1, kBlockFloats / (RS * s.PQ())));
}

}  // namespace

void gemm_conv2d_backward_weight(float* dw, const float* dy, const float* x, const Conv2dShape& s) {
  const int64_t size = s.K * s.CRS();
  // The pieces of one weight, each over some images, are added in order. As many parts of the batch
  // as 16 MiB of partial sums allow, but at most 16.
  const int64_t most_parts = std::clamp<int64_t>((int64_t{4} << 20) / size, 1, 16);
  const int64_t images = even_part(s.N, std::max<int64_t>(1, (s.N + most_parts - 1) / most_parts));
  const int64_t parts = (s.N + images - 1) / images;
  const Scratch partial(parts > 1 ? parts * size : 0);
  float* const sums = parts > 1 ? partial.get() : dw;

  // A piece: some rows (c, r, s) of the patches of one group, over one part of the batch.
  const bool few_channels = s.K / s.G < kFewChannels;
  const int64_t columns =
      few_channels ? columns_of_dots(s) : columns_of_tiles(kernels(), s, parts * s.G);
  const int64_t blocks = (s.CRS() + columns - 1) / columns;
  const auto add_weight = few_channels ? add_weight_dots : add_weight_tiles;
  parallel_for(parts * s.G * blocks, 1, [&](int64_t piece, int64_t) {
    const int64_t part = piece / (s.G * blocks), g = piece / blocks % s.G, n = part * images;
    const int64_t begin = piece % blocks * columns;
    add_weight(kernels(), sums + part * size + g * (s.K / s.G) * s.CRS(),
               dy + (n * s.G + g) * (s.K / s.G) * s.PQ(),
               x + (n * s.G + g) * (s.C / s.G) * s.H * s.W, s, std::min(images, s.N - n), begin,
               std::min(begin + columns, s.CRS()));
  });
  if (parts == 1) return;
  parallel_for(size, streaming_grain(4 * parts), [&](int64_t begin, int64_t end) {
    std::copy(sums + begin, sums + end, dw + begin);
    for (int64_t part = 1; part < parts; ++part) {
      kernels().add(dw + begin, sums + part * size + begin, end - begin);
    }
  });
}

}  // namespace striate::cpu
