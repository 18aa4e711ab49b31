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

}  // namespace

void conv2d_forward(float* y, const float* x, const float* w, const float* b,
                    const Conv2dShape& s) {
  if (s.N * s.K * s.PQ() == 0) return;
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G, depth = even_part(s.CRS(), kDepth);
  const Panels panels(K, kernel.tile_rows);
  const Scratch packed(s.K * s.CRS());
  pack_groups(kernel, packed.get(), {w, s.CRS(), 1}, K * s.CRS(), s.G, panels, s.CRS(), depth);

  // A piece: some output rows of one group of one image.
  const int64_t rows = even_part(s.P, std::max<int64_t>(1, kBlockFloats / (depth * s.Q)));
  const int64_t blocks = (s.P + rows - 1) / rows;
  const int64_t ld = round_up(rows * s.Q, kernel.lanes) + kernel.lanes;
  parallel_for(s.N * s.G * blocks, 1, [&](int64_t piece, int64_t) {
    const int64_t image_group = piece / blocks, g = image_group % s.G;
    const int64_t p0 = piece % blocks * rows, p1 = std::min(p0 + rows, s.P);
    const Scratch col(depth * ld + kernel.lanes);
    for (int64_t k = 0; k < s.CRS(); k += depth) {
      const int64_t k1 = std::min(k + depth, s.CRS());
      kernel.im2col(col.get(), ld, x + image_group * (s.C / s.G) * s.H * s.W, s, k, k1, p0, p1);
      multiply(kernel, y + image_group * K * s.PQ() + p0 * s.Q, s.PQ(),
               packed.get() + (g * s.CRS() + k) * K, panels, k1 - k,
               {col.get(), ld, kernel.tile_columns}, (p1 - p0) * s.Q,
               k == 0 && b != nullptr ? b + g * K : nullptr, k > 0);
    }
  });
}

void conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s) {
  if (s.N * s.C * s.H * s.W == 0) return;
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
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G, C = s.C / s.G, RS = s.R * s.S;

  // A piece: some input channels of one group, over some images; the pieces of one weight are then
  // added in order. As many parts of the batch as 16 MiB of partial sums allow, but at most 16.
  const int64_t most_parts = std::clamp<int64_t>((int64_t{4} << 20) / size, 1, 16);
  const int64_t images = even_part(s.N, std::max<int64_t>(1, (s.N + most_parts - 1) / most_parts));
  const int64_t parts = (s.N + images - 1) / images;
  const int64_t channels = even_part(C, std::max<int64_t>(1, kBlockFloats / (RS * s.PQ())));
  const int64_t blocks = (C + channels - 1) / channels;
  const Scratch partial(parts > 1 ? parts * size : 0);
  float* const sums = parts > 1 ? partial.get() : dw;

  parallel_for(parts * s.G * blocks, 1, [&](int64_t piece, int64_t) {
    const int64_t part = piece / (s.G * blocks), g = piece / blocks % s.G;
    const int64_t c0 = piece % blocks * channels, c1 = std::min(c0 + channels, C);
    const int64_t n0 = part * images, n1 = std::min(n0 + images, s.N);
    const int64_t depth = (c1 - c0) * RS, col_size = depth * s.PQ();
    const int64_t batch = std::clamp<int64_t>(kBlockFloats / col_size, 1, n1 - n0);
    const Scratch col(batch * col_size + kernel.lanes);
    for (int64_t n = n0; n < n1; n += batch) {
      const int64_t count = std::min(batch, n1 - n);
      for (int64_t i = 0; i < count; ++i) {
        kernel.im2col(col.get() + i * col_size, s.PQ(), x + ((n + i) * s.G + g) * C * s.H * s.W, s,
                      c0 * RS, c1 * RS, 0, s.P);
      }
      for (int64_t j = 0; j < depth; j += kernel.dot_columns) {
        for (int64_t k = 0; k < K; k += kernel.dot_rows) {
          kernel.gemm_dot(std::min<int64_t>(kernel.dot_rows, K - k),
                          std::min<int64_t>(kernel.dot_columns, depth - j),
                          {.c = sums + part * size + (g * K + k) * s.CRS() + c0 * RS + j,
                           .a = dy + ((n * s.G + g) * K + k) * s.PQ(),
                           .b = col.get() + j * s.PQ(),
                           .K = s.PQ(),
                           .batch = count,
                           .a_step = s.K * s.PQ(),
                           .b_step = col_size,
                           .lda = s.PQ(),
                           .ldb = s.PQ(),
                           .ldc_row = s.CRS(),
                           .ldc_column = 1,
                           .accumulate = n > n0});
        }
      }
    }
  });
  if (parts == 1) return;
  parallel_for(size, streaming_grain(4 * parts), [&](int64_t begin, int64_t end) {
    std::copy(sums + begin, sums + end, dw + begin);
    for (int64_t part = 1; part < parts; ++part) {
      kernel.add(dw + begin, sums + part * size + begin, end - begin);
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
