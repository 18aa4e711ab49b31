// The multiplication of one register tile, in two forms.
//
// gemm_tile  C += A B     vectors run along a row of C: each step loads a few vectors of B and
//                         multiplies them by broadcast elements of A (Goto, van de Geijn 2008).
// gemm_dot   C += A B^T   vectors run along the sum: for tall sums and few outputs, where rows of A
//                         and B are contiguous and C is too narrow to fill vectors.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

// Accumulators, two vectors of B and one broadcast must fit the registers: 32 of them, or 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kTileRows = 14, kDotRows = 4, kDotColumns = 5;
#else
constexpr int kTileRows = 6, kDotRows = 2, kDotColumns = 4;
#endif
constexpr int kTileVectors = 2;

// Every loop over rows and vectors is unrolled, or the sums would live in memory.
template <int Rows, int Vectors>
static void tile(const GemmTile& t) {
  Vec sum[Rows][Vectors];
#pragma GCC unroll 14
  for (int i = 0; i < Rows; ++i) {
    __builtin_prefetch(t.c + i * t.ldc, 1);  // C is needed when the sums are there
    __builtin_prefetch(t.c + i * t.ldc + Vectors * kLanes - 1, 1);
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) sum[i][j] = Vec{};
  }
  const float* a = t.a;
  const float* b = t.b;
  for (int64_t k = 0; k < t.K; ++k, a += Rows, b += t.ldb) {
    Vec row[Vectors];
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) row[j] = load(b + j * kLanes);
#pragma GCC unroll 14
    for (int i = 0; i < Rows; ++i) {
      const Vec factor = broadcast(a[i]);
#pragma GCC unroll 2
      for (int j = 0; j < Vectors; ++j) sum[i][j] += factor * row[j];
    }
  }
  const bool accumulate = t.accumulate, rectify = t.relu;
  const int64_t last = t.N - (Vectors - 1) * kLanes, ldc = t.ldc;  // columns of the last vector
  const float* const bias = t.bias;
  Vec in_columns[Vectors] = {};
  if (t.column_bias != nullptr) {
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) {
      const float* const from = t.column_bias + j * kLanes;
      in_columns[j] = j + 1 < Vectors || last == kLanes ? load(from) : load_first(from, last);
    }
  }
  float* c = t.c;
#pragma GCC unroll 14
  for (int i = 0; i < Rows; ++i, c += ldc) {
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) {
      float* const to = c + j * kLanes;
      const bool whole = j + 1 < Vectors || last == kLanes;
      Vec total = sum[i][j];
      if (bias != nullptr) total += broadcast(bias[i]);
      if (t.column_bias != nullptr) total += in_columns[j];
      if (accumulate) total += whole ? load(to) : load_first(to, last);
      if (rectify) total = relu(total);
      if (whole) {
        store(to, total);
      } else {
        store_first(to, total, last);
      }
    }
  }
}

template <int Rows, int Columns>
static void dot(const GemmDot& t) {
  Vec sum[Rows][Columns] = {};
  for (int64_t batch = 0; batch < t.batch; ++batch) {
    const float* a = t.a + batch * t.a_step;
    const float* b = t.b + batch * t.b_step;
    int64_t k = 0;
    const auto step = [&](auto loaded) {
      Vec left[Rows], right[Columns];
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i) left[i] = loaded(a + i * t.lda + k);
#pragma GCC unroll 5
      for (int j = 0; j < Columns; ++j) right[j] = loaded(b + j * t.ldb + k);
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 5
        for (int j = 0; j < Columns; ++j) sum[i][j] += left[i] * right[j];
      }
    };
    for (; k + kLanes <= t.K; k += kLanes) step([](const float* p) { return load(p); });
    if (k < t.K) step([rest = t.K - k](const float* p) { return load_first(p, rest); });
  }
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Columns; ++j) {
      float& c = t.c[i * t.ldc_row + j * t.ldc_column];
      c = (t.accumulate ? c : 0.0f) + sum_lanes(sum[i][j]);
    }
  }
}

// --- tables over the number of rows and columns, so that no edge computes what nobody reads ------

template <int Vectors, int... Row>
static void choose_tile(int64_t rows, const GemmTile& t, Ints<Row...>) {
  static constexpr void (*tiles[])(const GemmTile&) = {tile<Row + 1, Vectors>...};
  tiles[rows - 1](t);
}

static void gemm_tile(int64_t rows, const GemmTile& t) {
  if (t.N > kLanes) {
    choose_tile<kTileVectors>(rows, t, MakeInts<kTileRows>{});
  } else {
    choose_tile<1>(rows, t, MakeInts<kTileRows>{});
  }
}

template <int... I>
static void choose_dot(int64_t rows, int64_t columns, const GemmDot& t, Ints<I...>) {
  static constexpr void (*dots[])(const GemmDot&) = {
      dot<I / kDotColumns + 1, I % kDotColumns + 1>...};
  dots[(rows - 1) * kDotColumns + columns - 1](t);
}

static void gemm_dot(int64_t rows, int64_t columns, const GemmDot& t) {
  choose_dot(rows, columns, t, MakeInts<kDotRows * kDotColumns>{});
}

// --- packing -------------------------------------------------------------------------------------

/// to[c * ld_to + r] = from[r * ld_from + c] for r < rows, c < columns, a square of vectors at a
/// time; between rows and ld_to, zeros may be written.
static void transpose(float* to, int64_t ld_to, const float* from, int64_t ld_from, int64_t rows,
                      int64_t columns) {
  const float* const end = to + columns * ld_to;
  for (int64_t r = 0; r < rows; r += kLanes) {
    const int64_t high = rows - r < kLanes ? rows - r : kLanes;
    for (int64_t c = 0; c < columns; c += kLanes) {
      const int64_t wide = columns - c < kLanes ? columns - c : kLanes;
      Vec v[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        const float* row = from + (r + i) * ld_from + c;
        v[i] = i >= high ? Vec{} : wide == kLanes ? load(row) : load_first(row, wide);
      }
      transpose_square(v);
      for (int i = 0; i < wide; ++i) {
        float* row = to + (c + i) * ld_to + r;
        // Past the rows, a whole vector may write into its own column, or into the next one, which
        // is still to come; but not where an earlier square already stands.
        if (ld_to - r >= kLanes || (r == 0 && end - row >= kLanes)) {
          store(row, v[i]);
        } else {
          store_first(row, v[i], high);
        }
      }
    }
  }
}

/// to[r * ld_to + c] = from[r * ld_from + c] for r < rows, c < columns.
static void copy(float* to, int64_t ld_to, const float* from, int64_t ld_from, int64_t rows,
                 int64_t columns) {
  for (int64_t r = 0; r < rows; ++r, to += ld_to, from += ld_from) {
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes) store(to + c, load(from + c));
    if (c < columns) store_first(to + c, load_first(from + c, columns - c), columns - c);
  }
}

}  // namespace striate::cpu::STRIATE_ISA
