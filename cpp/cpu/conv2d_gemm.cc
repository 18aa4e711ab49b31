// conv2d by GEMM. The patches under the kernel are laid out as a matrix (im2col) a block at a time,
// in scratch that stays in the cache; the matrix of a whole batch never exists. Every block is one
// piece of work, cut by the shapes alone (see parallel.h). The smallest block is one output row
// (forward) or one channel (backward): very wide images take more scratch than kBlockFloats.
#include <algorithm>

#include "cpu/conv2d_algorithm.h"
#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"

namespace striate::cpu {
namespace {

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

}  // namespace

int64_t gemm_weights_size(const Conv2dShape& s) { return s.K * s.CRS(); }

void gemm_prepare_weights(float* packed, const float* w, const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G;
  pack_groups(kernel, packed, {w, s.CRS(), 1}, K * s.CRS(), s.G, Panels(K, kernel.tile_rows),
              s.CRS(), even_part(s.CRS(), kDepth));
}

void gemm_conv2d_forward(float* y, const float* x, const float* packed, const Conv2dFinish& finish,
                         const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G, depth = even_part(s.CRS(), kDepth);
  const Panels panels(K, kernel.tile_rows);

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
      multiply(kernel, out, ldc, packed + (g * s.CRS() + k) * K, panels, k1 - k,
               {col.get(), ld, kernel.tile_columns}, columns,
               k == 0 && finish.bias != nullptr ? finish.bias + g * K : nullptr, k > 0,
               finish.relu && k1 == s.CRS());
    }
    if (images == 1) return;
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t k = 0; k < K; ++k) {
        std::copy_n(out + k * columns + i * s.PQ(), s.PQ(), first + i * step + k * s.PQ());
      }
    }
  });
}

void gemm_conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s) {
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

}  // namespace striate::cpu
