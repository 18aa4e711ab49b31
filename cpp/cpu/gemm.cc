// gemm: products of packed matrices (Goto, van de Geijn 2008). The sum is cut into slices. Of a slice,
// A is packed into panels and B into tiles, once for all threads; then C is cut into pieces, and a
// piece multiplies its panels by its tiles. How C is cut does not change the order of any sum, only
// the slices do, and they depend on K alone.
#include "striate/gemm.h"

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"
#include "cpu/trace.h"

namespace striate::cpu {
namespace {

void scale(float* c, float beta, const GemmShape& s) {
  for (int64_t m = 0; m < s.M; ++m) {
    for (int64_t n = 0; n < s.N; ++n) {
      c[m * s.ldc + n] = beta == 0 ? 0 : beta * c[m * s.ldc + n];
    }
  }
}

// A piece of C: the B that it needs stays in L2, while panels of A pass through L1.
struct Blocks {
  int64_t rows, columns;
};

constexpr int64_t kPieces = 16;       // that there should be, for the threads
constexpr double kLeastWork = 0.5e6;  // operations in a piece

// Shapes only: see parallel.h.
Blocks choose_blocks(const Kernels& kernels, const Panels& panels, int64_t N, int64_t K) {
  constexpr int64_t kMostRows = 588, kMostFloats = int64_t{128} << 10;
  int64_t rows = even_part(panels.M, kMostRows), columns = even_part(N, kMostFloats / K);
  const auto pieces = [&] {
    return ((panels.M + rows - 1) / rows) * ((N + columns - 1) / columns);
  };
  const auto enough = [&] {
    return pieces() >= kPieces || 2.0 * panels.M * N * K / (2 * pieces()) < kLeastWork;
  };
  while (!enough() && columns >= 4 * kernels.tile_columns) columns = (columns + 1) / 2;
  while (!enough() && rows >= 2 * kernels.tile_rows) rows = (rows + 1) / 2;
  return {round_up(rows, panels.rows), round_up(columns, kernels.tile_columns)};
}

struct Operands {
  const Kernels& kernels;
  const float *a, *b;
  float alpha;
  const GemmShape& shape;

  // Packs rows [m, m + panels.M) of alpha op(A), K columns from k on.
  void pack_a(float* to, const Panels& panels, int64_t m, int64_t k, int64_t K) const {
    const int64_t lda = shape.lda;
    pack(kernels, to,
         shape.trans_a ? Strided{a + k * lda + m, 1, lda} : Strided{a + m * lda + k, lda, 1},
         panels, K);
    if (alpha != 1)
      std::transform(to, to + panels.M * K, to, [scale = alpha](float v) { return scale * v; });
  }

  // Packs K rows from k on, columns [n, n + columns) of op(B), into tiles, the last one padded with
  // zeros.
  Tiles pack_b(float* to, int64_t k, int64_t K, int64_t n, int64_t columns) const {
    constexpr int64_t kRowsAtOnce = 32;  // which are read along, over all tiles
    const int64_t width = kernels.tile_columns, ldb = shape.ldb, padding = columns % width;
    if (padding != 0) std::fill_n(to + (columns - padding) * K, width * K, 0.0f);
    if (shape.trans_b) {
      for (int64_t j = 0; j < columns; j += width) {
        kernels.transpose(to + j * K, width, b + (n + j) * ldb + k, ldb,
                          std::min(width, columns - j), K);
      }
    } else {
      for (int64_t i = 0; i < K; i += kRowsAtOnce) {
        for (int64_t j = 0; j < columns; j += width) {
          kernels.copy(to + j * K + i * width, width, b + (k + i) * ldb + n + j, ldb,
                       std::min(kRowsAtOnce, K - i), std::min(width, columns - j));
        }
      }
    }
    return {to, width, width * K};
  }
};

// A few rows: B is used once, so each piece packs its own columns, where it needs them.
void multiply_few_rows(float* C, const Operands& operands, bool accumulate) {
  const Kernels& kernel = operands.kernels;
  const GemmShape& s = operands.shape;
  const int64_t depth = even_part(s.K, kGemmDepth), slices = (s.K + depth - 1) / depth;
  const int64_t width = kernel.tile_columns;
  const Panels panels(s.M, kernel.tile_rows);
  const Scratch packed(s.M * s.K);
  parallel_for(slices, std::max<int64_t>(1, 8192 / (s.M * depth)), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin * depth; k < std::min(end * depth, s.K); k += depth) {
      operands.pack_a(packed.get() + s.M * k, panels, 0, k, std::min(depth, s.K - k));
    }
  });
  const int64_t least = static_cast<int64_t>(kLeastWork / (2.0 * s.M * s.K));
  const int64_t columns = round_up(
      std::max(least, even_part(s.N, std::min(kBlockFloats / depth, (s.N + 15) / 16))), width);
  parallel_for(s.N, columns, [&](int64_t begin, int64_t end) {
    const Scratch tiles(columns * depth);
    for (int64_t k = 0; k < s.K; k += depth) {
      const int64_t K = std::min(depth, s.K - k);
      multiply(kernel, C + begin, s.ldc, packed.get() + s.M * k, panels, K,
               operands.pack_b(tiles.get(), k, K, begin, end - begin), end - begin, nullptr,
               accumulate || k > 0);
    }
  });
}

// What is packed at once: a slice of the sum for one large block of C.
struct Step {
  int64_t m, rows, n, columns, k, depth;
};

// Region i multiplies step i and packs step i + 1 into the other half of the buffers. The pieces
// that pack come last: they are small, and fill the time in which other threads still multiply.
void multiply_steps(float* C, const Operands& operands, bool accumulate) {
  constexpr int64_t kMost = 2048;  // rows and columns of a step: its buffers take 16 MiB
  const Kernels& kernel = operands.kernels;
  const GemmShape& s = operands.shape;
  const int64_t depth = even_part(s.K, kGemmDepth), slices = (s.K + depth - 1) / depth;
  const int64_t rows = even_part(s.M, kMost);
  const int64_t columns = round_up(even_part(s.N, kMost), kernel.tile_columns);
  const int64_t across = (s.N + columns - 1) / columns, down = (s.M + rows - 1) / rows;
  const auto step_at = [&](int64_t i) {
    const int64_t k = i % slices * depth, m = i / slices % down * rows;
    const int64_t n = i / slices / down * columns;
    return Step{m, std::min(rows, s.M - m), n, std::min(columns, s.N - n),
                k, std::min(depth, s.K - k)};
  };
  const Scratch a(2 * rows * depth), b(2 * columns * depth);

  for (int64_t i = -1, steps = across * down * slices; i < steps; ++i) {
    // Of step i, the multiplication.
    const Step now = step_at(std::max<int64_t>(i, 0));
    const Panels panels(now.rows, kernel.tile_rows);
    const Blocks piece = choose_blocks(kernel, panels, now.columns, now.depth);
    const int64_t wide = (now.columns + piece.columns - 1) / piece.columns;
    const int64_t high = (now.rows + piece.rows - 1) / piece.rows;
    const int64_t products = i < 0 ? 0 : wide * high;
    const float* const packed_a = a.get() + (i & 1) * rows * depth;
    const float* const packed_b = b.get() + (i & 1) * columns * depth;

    // Of step i + 1, the packing: some panels or some tiles at a time.
    const Step next = step_at(std::min(i + 1, steps - 1));
    const Panels next_panels(next.rows, kernel.tile_rows);
    float* const to_a = a.get() + ((i + 1) & 1) * rows * depth;
    float* const to_b = b.get() + ((i + 1) & 1) * columns * depth;
    const int64_t a_rows = round_up(64, next_panels.rows), b_columns = 4 * kernel.tile_columns;
    const int64_t a_pieces = (next.rows + a_rows - 1) / a_rows;
    const int64_t b_pieces = (next.columns + b_columns - 1) / b_columns;

    parallel_for(products + (i + 1 < steps ? a_pieces + b_pieces : 0), 1, [&](int64_t p, int64_t) {
      if (p < products) {
        const int64_t m = p % high * piece.rows, n = p / high * piece.columns;
        const Panels mine(panels, std::min(piece.rows, now.rows - m));
        multiply(kernel, C + (now.m + m) * s.ldc + now.n + n, s.ldc, packed_a + m * now.depth, mine,
                 now.depth,
                 {packed_b + n * now.depth, kernel.tile_columns, kernel.tile_columns * now.depth},
                 std::min(piece.columns, now.columns - n), nullptr, accumulate || now.k > 0);
      } else if (p < products + a_pieces) {
        const int64_t m = (p - products) * a_rows;
        operands.pack_a(to_a + m * next.depth, Panels(next_panels, std::min(a_rows, next.rows - m)),
                        next.m + m, next.k, next.depth);
      } else {
        const int64_t n = (p - products - a_pieces) * b_columns;
        operands.pack_b(to_b + n * next.depth, next.k, next.depth, next.n + n,
                        std::min(b_columns, next.columns - n));
      }
    });
  }
}

// A few rows of A times the rows of B: every element of B is read once, where it stands.
void multiply_dots(const Kernels& kernels, float* C, const float* A, const float* B,
                   bool accumulate, const GemmShape& s) {
  const int64_t width = kernels.dot_columns;
  const int64_t grain = std::max<int64_t>(1, (int64_t{64} << 10) / (4 * s.K * width)) * width;
  parallel_for(s.N, grain, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n += width) {
      for (int64_t m = 0; m < s.M; m += kernels.dot_rows) {
        kernels.gemm_dot(std::min<int64_t>(kernels.dot_rows, s.M - m), std::min(width, end - n),
                         {.c = C + m * s.ldc + n,
                          .a = A + m * s.lda,
                          .b = B + n * s.ldb,
                          .K = s.K,
                          .batch = 1,
                          .a_step = 0,
                          .b_step = 0,
                          .lda = s.lda,
                          .ldb = s.ldb,
                          .ldc_row = s.ldc,
                          .ldc_column = 1,
                          .accumulate = accumulate});
      }
    }
  });
}

}  // namespace

void gemm(float* C, const float* A, const float* B, float alpha, float beta, const GemmShape& s) {
  if (s.M == 0 || s.N == 0) return;
  const Trace trace(
      "gemm", {{"M", s.M}, {"N", s.N}, {"K", s.K}, {"trans_a", s.trans_a}, {"trans_b", s.trans_b}},
      {.flop = 2.0 * s.M * s.N * s.K});
  const bool nothing = s.K == 0 || alpha == 0;
  if (nothing || (beta != 0 && beta != 1)) scale(C, beta, s);
  if (nothing) return;
  constexpr int64_t kDotRows = 4, kManyRows = 128;
  if (s.M <= kDotRows && !s.trans_a && s.trans_b && alpha == 1) {
    multiply_dots(kernels(), C, A, B, beta != 0, s);
  } else {
    const Operands operands{kernels(), A, B, alpha, s};
    (s.M <= kManyRows ? multiply_few_rows : multiply_steps)(C, operands, beta != 0);
  }
}

}  // namespace striate::cpu
