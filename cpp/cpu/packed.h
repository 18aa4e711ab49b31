// Multiplication by a packed matrix: what gemm, linear and conv2d share.
//
// A[M, K] is packed into panels of a few rows, each stored column by column, so that a register
// tile reads it as one stream. All panels but the last have equally many rows, at most what the
// tile takes: 16 rows are packed as 8 + 8 and not as 14 + 2.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/isa.h"

namespace striate::cpu {

struct Panels {
  int64_t M, rows;

  Panels(int64_t m, int64_t tile_rows) : M(m) {
    const int64_t count = std::max<int64_t>(1, (m + tile_rows - 1) / tile_rows);
    rows = std::max<int64_t>(1, (m + count - 1) / count);
  }
  /// Some of them, m rows.
  Panels(const Panels& all, int64_t m) : M(m), rows(all.rows) {}
};

/// A strided matrix: element (i, k) stands at data[i * row + k * column]; one of them is 1.
struct Strided {
  const float* data;
  int64_t row, column;
};

/// Packs A[M, K] into `packed` (M * K floats).
inline void pack(const Kernels& kernels, float* packed, const Strided& a, const Panels& panels,
                 int64_t K) {
  for (int64_t m = 0; m < panels.M; m += panels.rows) {
    const int64_t rows = std::min(panels.rows, panels.M - m);
    float* to = packed + m * K;
    const float* from = a.data + m * a.row;
    if (a.column == 1) {
      kernels.transpose(to, rows, from, a.row, rows, K);
    } else {
      kernels.copy(to, rows, from, a.column, K, rows);
    }
  }
}

/// B[K, N] as a sequence of tiles of `tile_columns` columns: tile j starts at data + j * tile_step,
/// its rows are ld apart. Whole vectors are read, so the last tile must be padded.
struct Tiles {
  const float* data;
  int64_t ld, tile_step;
};

/// C[M, N] (+)= A B, plus bias[i] in row i and column_bias[j] in column j unless they are nullptr;
/// then, with relu, max(0, C).
inline void multiply(const Kernels& kernels, float* c, int64_t ldc, const float* packed,
                     const Panels& panels, int64_t K, const Tiles& b, int64_t N, const float* bias,
                     bool accumulate, bool relu = false, const float* column_bias = nullptr) {
  const auto multiply_tile = [&](int64_t m, int64_t n) {
    kernels.gemm_tile(std::min(panels.rows, panels.M - m),
                      {.c = c + m * ldc + n,
                       .a = packed + m * K,
                       .b = b.data + n / kernels.tile_columns * b.tile_step,
                       .K = K,
                       .N = std::min<int64_t>(kernels.tile_columns, N - n),
                       .ldb = b.ld,
                       .ldc = ldc,
                       .bias = bias == nullptr ? nullptr : bias + m,
                       .column_bias = column_bias == nullptr ? nullptr : column_bias + n,
                       .accumulate = accumulate,
                       .relu = relu});
  };
  // A panel is half as large as a tile of B: it stays in L1 while the tiles come from L2, in the
  // order in which C lies in memory. Where they are too many for L2, each is read once.
  constexpr int64_t kL2Floats = int64_t{192} << 10;
  if (K * N <= kL2Floats) {
    for (int64_t m = 0; m < panels.M; m += panels.rows) {
      for (int64_t n = 0; n < N; n += kernels.tile_columns) multiply_tile(m, n);
    }
  } else {
    for (int64_t n = 0; n < N; n += kernels.tile_columns) {
      for (int64_t m = 0; m < panels.M; m += panels.rows) multiply_tile(m, n);
    }
  }
}

/// Parts of at most `most`, nearly equal: 400 in parts of at most 256 is 200 + 200.
inline int64_t even_part(int64_t size, int64_t most) {
  const int64_t parts = std::max<int64_t>(1, (size + most - 1) / most);
  return std::max<int64_t>(1, (size + parts - 1) / parts);
}

inline int64_t round_up(int64_t size, int64_t multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

// Depth of a packed block: with 14 rows and 32 columns a tile's operands are 14 + 32 KiB, which L1
// and L2 hold between them.
constexpr int64_t kDepth = 256;

// Of gemm's own blocks, whose B stays in L2 and not in L1: C is read and written less often.
constexpr int64_t kGemmDepth = 512;

// Of a convolution's block of patches: 384 KiB, within L2.
constexpr int64_t kBlockFloats = int64_t{96} << 10;

}  // namespace striate::cpu
