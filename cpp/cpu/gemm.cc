// gemm: C is cut into blocks, every block is one piece of work. It packs its rows of op(A) and its
// columns of op(B), a slice of K at a time, and multiplies them tile by tile. How C is cut does not
// change the order of any sum, only the slices of K do, and they depend on K alone.
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

// Packs k rows, n columns of op(B) into tiles, the last one padded with zeros.
Tiles pack_tiles(const Kernels& kernels, float* packed, const float* b, int64_t ldb, bool trans,
                 int64_t k, int64_t n) {
  const int64_t width = kernels.tile_columns;
  for (int64_t j = 0; j < n; j += width) {
    float* to = packed + j * k;
    const int64_t columns = std::min(width, n - j);
    if (columns < width) std::fill(to, to + k * width, 0.0f);
    if (trans) {
      kernels.transpose(to, width, b + j * ldb, ldb, columns, k);
    } else {
      for (int64_t i = 0; i < k; ++i) {
        std::copy_n(b + i * ldb + j, columns, to + i * width);
      }
    }
  }
  return {packed, width, width * k};
}

struct Blocks {
  int64_t rows, columns;
};

// Blocks large enough that packing is cheap beside multiplying, small enough for L2 and to make
// some 16 pieces of work, none below half a million operations. Shapes only: see parallel.h.
Blocks choose_blocks(const Kernels& kernels, const GemmShape& s) {
  constexpr int64_t kMostRows = 336, kMostColumns = 480, kPieces = 16;
  constexpr double kLeastWork = 0.5e6;
  int64_t rows = even_part(s.M, kMostRows), columns = even_part(s.N, kMostColumns);
  const double work = 2.0 * s.M * s.N * s.K;
  const auto pieces = [&] { return ((s.M + rows - 1) / rows) * ((s.N + columns - 1) / columns); };
  const auto enough = [&] { return pieces() >= kPieces || work / (2 * pieces()) < kLeastWork; };
  while (!enough() && columns >= 4 * kernels.tile_columns) columns = (columns + 1) / 2;
  while (!enough() && rows >= 2 * kernels.tile_rows) rows = (rows + 1) / 2;
  return {rows, round_up(columns, kernels.tile_columns)};
}

void multiply_blocks(const Kernels& kernels, float* C, const float* A, const float* B, float alpha,
                     bool accumulate, const GemmShape& s) {
  const Blocks block = choose_blocks(kernels, s);
  const int64_t depth = even_part(s.K, kDepth);
  const int64_t across = (s.N + block.columns - 1) / block.columns;
  const int64_t down = (s.M + block.rows - 1) / block.rows;
  parallel_for(down * across, 1, [&](int64_t piece, int64_t) {
    const int64_t m = piece / across * block.rows, n = piece % across * block.columns;
    const int64_t rows = std::min(block.rows, s.M - m), columns = std::min(block.columns, s.N - n);
    const Panels panels(rows, kernels.tile_rows);
    const Scratch a(rows * depth), b(block.columns * depth);
    for (int64_t k = 0; k < s.K; k += depth) {
      const int64_t K = std::min(depth, s.K - k);
      const Strided from =
          s.trans_a ? Strided{A + k * s.lda + m, 1, s.lda} : Strided{A + m * s.lda + k, s.lda, 1};
      pack(kernels, a.get(), from, panels, K);
      if (alpha != 1)
        std::transform(a.get(), a.get() + rows * K, a.get(), [=](float v) { return alpha * v; });
      const float* columns_of_b = B + (s.trans_b ? n * s.ldb + k : k * s.ldb + n);
      const Tiles tiles = pack_tiles(kernels, b.get(), columns_of_b, s.ldb, s.trans_b, K, columns);
      multiply(kernels, C + m * s.ldc + n, s.ldc, a.get(), panels, K, tiles, columns, nullptr,
               accumulate || k > 0);
    }
  });
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
  constexpr int64_t kFewRows = 4;
  if (s.M <= kFewRows && !s.trans_a && s.trans_b && alpha == 1) {
    multiply_dots(kernels(), C, A, B, beta != 0, s);
  } else {
    multiply_blocks(kernels(), C, A, B, alpha, beta != 0, s);
  }
}

}  // namespace striate::cpu
