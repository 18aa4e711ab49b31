// conv2d by GEMM. The patches under the kernel are laid out as a matrix (im2col) a block at a time,
// in scratch that stays in the cache; the matrix of a whole batch never exists. Every block is one
// piece of work, cut by the shapes alone (see parallel.h). The smallest block is one output row
// (forward) or one channel (backward): very wide images take more scratch than kBlockFloats.
#include "striate/conv2d.h"

#include <algorithm>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"

namespace striate::cpu {
namespace {

constexpr int64_t kBlockFloats = int64_t{96} << 10;  // a block of patches: 384 KiB, within L2
constexpr int64_t kFewChannels = 32;                 // which fill less than two register tiles

// Packs each group's A[M, K] (K cut into slices of `depth`, each slice packed on its own).
void pack_groups(const Kernels& kernels, float* packed, const Strided& a, int64_t group_step,
                 int64_t groups, const Panels& panels, int64_t K, int64_t depth) {
  const int64_t slices = (K + depth - 1) / depth;
  const int64_t grain = std::max<int64_t>(1, 16384 / (panels.M * depth));
  parallel_for(groups * slices, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t g = i / slices, k = i % slices * depth;
      const Strided from{a.data + g * group_step + k * a.column, a.row, a.column};
      pack(kernels, packed + (g * K + k) * panels.M, from, panels, std::min(depth, K - k));
    }
  });
}

// How many images to lay side by side. One small image leaves much of its last register tile empty:
// 7x7 pixels take two tiles of 32 columns, five such images take eight and not ten.
int64_t images_side_by_side(const Kernels& kernels, const Conv2dShape& s, int64_t depth) {
  constexpr int64_t kPieces = 16;  // that are to be left
  const int64_t most = std::min(s.N * s.G / kPieces, kBlockFloats / (depth * s.PQ()));
  const auto full = [&](int64_t images) {
    const int64_t columns = images * s.PQ();
    return static_cast<double>(columns) / round_up(columns, kernels.tile_columns);
  };
  int64_t best = 1;
  for (int64_t images = 2; images <= most; ++images) {
    if (full(images) > full(best) + 0.01) best = images;
  }
  return best;
}

// With stride 1 the gradient of x is a convolution itself: of dy, by the kernels turned by 180
// degrees and their channels exchanged, with what the padding leaves of a full one.
void backward_data_by_forward(float* dx, const float* dy, const float* w, const Conv2dShape& s) {
  const int64_t K = s.K / s.G, C = s.C / s.G, RS = s.R * s.S;
  const Scratch turned(s.C * K * RS);
  parallel_for(s.C, std::max<int64_t>(1, 16384 / (K * RS)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* from = w + (i / C * K * C + i % C) * RS;
      for (int64_t k = 0; k < K; ++k) {
        std::reverse_copy(from + k * C * RS, from + (k * C + 1) * RS,
                          turned.get() + (i * K + k) * RS);
      }
    }
  });
  const int64_t reach_h = (s.R - 1) * s.dilation_h, reach_w = (s.S - 1) * s.dilation_w;
  conv2d_forward(dx, dy, turned.get(), nullptr,
                 {.N = s.N,
                  .C = s.K,
                  .H = s.P,
                  .W = s.Q,
                  .K = s.C,
                  .R = s.R,
                  .S = s.S,
                  .P = s.H,
                  .Q = s.W,
                  .G = s.G,
                  .pad_top = reach_h - s.pad_top,
                  .pad_left = reach_w - s.pad_left,
                  .pad_bottom = reach_h - s.pad_bottom,
                  .pad_right = reach_w - s.pad_right,
                  .dilation_h = s.dilation_h,
                  .dilation_w = s.dilation_w});
}

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

void conv2d_forward(float* y, const float* x, const float* w, const float* b,
                    const Conv2dShape& s) {
  if (s.N * s.K * s.PQ() == 0) return;
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G, depth = even_part(s.CRS(), kDepth);
  const Panels panels(K, kernel.tile_rows);
  const Scratch packed(s.K * s.CRS());
  pack_groups(kernel, packed.get(), {w, s.CRS(), 1}, K * s.CRS(), s.G, panels, s.CRS(), depth);

  // A piece: some output rows of one group of one image; or, of small images, several whole ones,
  // whose results are then copied to where they belong.
  const int64_t images = images_side_by_side(kernel, s, depth);
  const int64_t rows =
      images > 1 ? s.P : even_part(s.P, std::max<int64_t>(1, kBlockFloats / (depth * s.Q)));
  const int64_t blocks = (s.P + rows - 1) / rows;
  const int64_t ld = round_up(images * rows * s.Q, kernel.lanes) + kernel.lanes;
  parallel_for((s.N + images - 1) / images * s.G * blocks, 1, [&](int64_t piece, int64_t) {
    const int64_t n = piece / (s.G * blocks) * images, g = piece / blocks % s.G;
    const int64_t count = std::min(images, s.N - n);
    const int64_t p0 = piece % blocks * rows, p1 = std::min(p0 + rows, s.P);
    const int64_t columns = count * (p1 - p0) * s.Q, step = s.G * K * s.PQ();
    float* const first = y + (n * s.G + g) * K * s.PQ() + p0 * s.Q;
    const Scratch col(depth * ld + kernel.lanes), side_by_side(images > 1 ? K * columns : 0);
    float* const out = images > 1 ? side_by_side.get() : first;
    const int64_t ldc = images > 1 ? columns : s.PQ();
    for (int64_t k = 0; k < s.CRS(); k += depth) {
      const int64_t k1 = std::min(k + depth, s.CRS());
      for (int64_t i = 0; i < count; ++i) {
        kernel.im2col(col.get() + i * s.PQ(), ld, x + ((n + i) * s.G + g) * (s.C / s.G) * s.H * s.W,
                      s, k, k1, p0, p1);
      }
      multiply(kernel, out, ldc, packed.get() + (g * s.CRS() + k) * K, panels, k1 - k,
               {col.get(), ld, kernel.tile_columns}, columns,
               k == 0 && b != nullptr ? b + g * K : nullptr, k > 0);
    }
    if (images == 1) return;
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t k = 0; k < K; ++k) {
        std::copy_n(out + k * columns + i * s.PQ(), s.PQ(), first + i * step + k * s.PQ());
      }
    }
  });
}

void conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s) {
  if (s.N * s.C * s.H * s.W == 0) return;
  const bool stride_1 = s.stride_h == 1 && s.stride_w == 1;
  if (stride_1 && 4 * s.H * s.W <= 5 * s.PQ()) return backward_data_by_forward(dx, dy, w, s);
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G, C = s.C / s.G, RS = s.R * s.S;

  // A piece: some input channels of one group of one image: the matrix of patches' gradients,
  // dcol = w^T dy, and its way back into the image.
  const int64_t channels = even_part(C, std::max<int64_t>(1, kBlockFloats / (RS * s.PQ() + 1)));
  const int64_t blocks = (C + channels - 1) / channels;
  const int64_t depth = even_part(K, kDepth);
  const int64_t whole = s.PQ() / kernel.tile_columns * kernel.tile_columns;
  parallel_for(s.N * s.G * blocks, 1, [&](int64_t piece, int64_t) {
    const int64_t image_group = piece / blocks, g = image_group % s.G;
    const int64_t c0 = piece % blocks * channels, c1 = std::min(c0 + channels, C);
    const Panels panels((c1 - c0) * RS, kernel.tile_rows);
    const Scratch packed(panels.M * depth), col(panels.M * s.PQ());
    const Scratch edge(depth * kernel.tile_columns);
    for (int64_t k = 0; k < K; k += depth) {
      const int64_t part = std::min(depth, K - k);
      const float* grad = dy + (image_group * K + k) * s.PQ();
      pack(kernel, packed.get(), {w + (g * K + k) * s.CRS() + c0 * RS, 1, s.CRS()}, panels, part);
      multiply(kernel, col.get(), s.PQ(), packed.get(), panels, part,
               {grad, s.PQ(), kernel.tile_columns}, whole, nullptr, k > 0);
      if (whole < s.PQ()) {  // the last columns, where whole vectors would read past the end
        for (int64_t i = 0; i < part; ++i) {
          float* row = edge.get() + i * kernel.tile_columns;
          std::fill(std::copy(grad + i * s.PQ() + whole, grad + (i + 1) * s.PQ(), row),
                    row + kernel.tile_columns, 0.0f);
        }
        multiply(kernel, col.get() + whole, s.PQ(), packed.get(), panels, part,
                 {edge.get(), kernel.tile_columns, 0}, s.PQ() - whole, nullptr, k > 0);
      }
    }
    float* image = dx + (image_group * C + c0) * s.H * s.W;
    kernel.col2im(image, col.get(), s.PQ(), s, c1 - c0);
  });
}

void conv2d_backward_weight(float* dw, const float* dy, const float* x, const Conv2dShape& s) {
  const int64_t size = s.K * s.CRS();
  if (size == 0) return;
  if (s.N * s.PQ() == 0) {
    std::fill(dw, dw + size, 0.0f);
    return;
  }
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

void conv2d_backward_bias(float* db, const float* dy, const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, s.N * s.PQ()));
  parallel_for(s.K, grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      double total = 0;
      for (int64_t n = 0; n < s.N; ++n) total += kernel.sum(dy + (n * s.K + k) * s.PQ(), s.PQ());
      db[k] = static_cast<float>(total);
    }
  });
}

}  // namespace striate::cpu
