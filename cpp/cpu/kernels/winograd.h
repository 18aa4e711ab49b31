// Winograd's minimal filtering (Lavin, Gray 2016): the transforms, the multiplication, and the way
// between images (rows of pixels) and vectors whose lanes are channels.
//
// A tile of m outputs under a kernel of r taps is a product of polynomials, known by its values at
// m + r - 1 points. Cook and Toom: evaluate both at the points, multiply there, interpolate; the
// filtering of F(m, r) is that algorithm transposed. With the points p and infinity (which comes
// first and stands for the leading coefficient):
//
//   Evaluate<a, n>     a x n   row 0 is (0, .., 0, 1), row i is (1, p, p^2, .., p^(n-1))
//   Interpolate<a>     a x a   row i: the coefficients of the Lagrange polynomial of point i
//
//   weights to points  Evaluate<a, r>                  (G)
//   data to points     Interpolate<a>                  (B^T)
//   points to outputs  Evaluate<a, m> transposed       (A^T)
//
// and in two dimensions along columns, then along rows. Weights at a point do not know m: a larger
// tile only adds a point, so tiles of m and of m - 1 outputs share the transformed weights.
//
// The points and their order decide the error: most of it is made by the sums over channels, and the
// transforms magnify it. Its RMS over the output's, for 384 channels of non-negative data and sums
// of sums over 32 (scripts/winograd_points.py):
//
//   points                            F(4,3)   F(5,3)   F(6,3)   F(2,5)   F(3,5)   F(4,5)
//   inf 0 1 -1 1/2 -2 2 -1/2          8.3e-7   2.0e-6   2.1e-6   9.9e-7   1.9e-6   2.2e-6
//   the same, sums in one part        2.1e-6   5.0e-6   5.3e-6   2.4e-6   4.7e-6   5.6e-6
//   inf 0 1 -1 2 -2 1/2 -1/2          1.2e-6   2.0e-6   2.1e-6   1.5e-6   1.9e-6   2.2e-6
//   inf 0 1 -1 1/2 -3/2 -1/2 3/2      9.9e-7   3.0e-6   2.9e-6   1.2e-6   2.9e-6   3.0e-6
#pragma once

#include "cpu/kernels/gemm.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

constexpr double kPoints[kWinogradPoints - 1] = {0, 1, -1, 0.5, -2, 2, -0.5};

template <int Outputs, int Inputs>
struct Matrix {
  float at[Outputs][Inputs];
};

template <int A, int N>
struct Evaluate {
  static constexpr int kOutputs = A, kInputs = N;
  static constexpr Matrix<A, N> make() {
    Matrix<A, N> m = {};
    m.at[0][N - 1] = 1;
    for (int i = 1; i < A; ++i) {
      double power = 1;
      for (int k = 0; k < N; ++k, power *= kPoints[i - 1]) m.at[i][k] = static_cast<float>(power);
    }
    return m;
  }
};

template <int A, int N>
struct Collect {
  static constexpr int kOutputs = N, kInputs = A;
  static constexpr Matrix<N, A> make() {
    Matrix<N, A> m = {};
    for (int i = 0; i < N; ++i) {
      for (int k = 0; k < A; ++k) m.at[i][k] = Evaluate<A, N>::make().at[k][i];
    }
    return m;
  }
};

template <int A>
struct Interpolate {
  static constexpr int kOutputs = A, kInputs = A;
  static constexpr Matrix<A, A> make() {
    Matrix<A, A> m = {};
    for (int i = 0; i < A; ++i) {
      // The product of (x - p) over the other points; over all of them for infinity.
      double product[A + 1] = {1}, scale = 1;
      int degree = 0;
      for (int j = 1; j < A; ++j) {
        if (j == i) continue;
        ++degree;
        for (int k = degree; k >= 0; --k) {
          product[k] = (k > 0 ? product[k - 1] : 0) - kPoints[j - 1] * product[k];
        }
        if (i > 0) scale *= kPoints[i - 1] - kPoints[j - 1];
      }
      for (int k = 0; k < A; ++k) m.at[i][k] = static_cast<float>(product[k] / scale);
    }
    return m;
  }
};

/// The dot product of one row of the matrix with the vectors `in`, without its zeros.
template <class M, int Row, int Column, bool Started>
__attribute__((always_inline)) static inline Vec row_times(Vec sum, const Vec* in) {
  if constexpr (Column == M::kInputs) {
    return sum;
  } else {
    constexpr float kFactor = M::make().at[Row][Column];
    if constexpr (kFactor == 0) {
      return row_times<M, Row, Column + 1, Started>(sum, in);
    } else if constexpr (!Started) {
      return row_times<M, Row, Column + 1, true>(kFactor == 1 ? in[Column] : kFactor * in[Column],
                                                 in);
    } else {
      return row_times<M, Row, Column + 1, true>(sum + kFactor * in[Column], in);
    }
  }
}

template <class M, int... Row>
__attribute__((always_inline)) static inline void times(Vec* out, const Vec* in, Ints<Row...>) {
  ((out[Row] = row_times<M, Row, 0, false>(Vec{}, in)), ...);
}

template <class M>
static void transform_lines(const WinogradLines& l) {
  for (int64_t i = 0; i < l.count; ++i) {
    const float* from = l.from + i * l.from_next;
    float* to = l.to + i * l.to_next;
    Vec in[M::kInputs], out[M::kOutputs];
#pragma GCC unroll 8
    for (int k = 0; k < M::kInputs - 1; ++k) in[k] = load(from + k * l.from_step);
    in[M::kInputs - 1] = load(l.from_last != nullptr ? l.from_last + i * l.from_last_next
                                                     : from + (M::kInputs - 1) * l.from_step);
    times<M>(out, in, MakeInts<M::kOutputs>{});
#pragma GCC unroll 8
    for (int k = 0; k < M::kOutputs - 1; ++k) store(to + k * l.to_step, out[k]);
    store(
        l.to_last != nullptr ? l.to_last + i * l.to_last_next : to + (M::kOutputs - 1) * l.to_step,
        out[M::kOutputs - 1]);
  }
}

using TransformLines = void (*)(const WinogradLines&);

// Weights of 3 or 5 taps, and the outputs that go with them: m = a - 2, m = a - 4.
constexpr bool exists(int a, int n) {
  return n >= 1 && n <= a && (n == 3 || n == 5 || n == a - 2 || n == a - 4);
}
template <int A, int N>
static constexpr TransformLines evaluate_lines() {
  if constexpr (exists(A, N)) {
    return transform_lines<Evaluate<A, N>>;
  } else {
    return nullptr;
  }
}
template <int A, int N>
static constexpr TransformLines collect_lines() {
  if constexpr (exists(A, N)) {
    return transform_lines<Collect<A, N>>;
  } else {
    return nullptr;
  }
}

template <int... I>
static void choose_transform(WinogradTransform kind, int points, int n, const WinogradLines& l,
                             Ints<I...>) {
  constexpr int kMost = kWinogradPoints;
  static constexpr TransformLines evaluate[] = {evaluate_lines<I / kMost + 1, I % kMost + 1>()...};
  static constexpr TransformLines collect[] = {collect_lines<I / kMost + 1, I % kMost + 1>()...};
  const int i = (points - 1) * kMost + n - 1;
  (kind == WinogradTransform::evaluate ? evaluate[i] : collect[i])(l);
}

template <int... I>
static void choose_interpolation(int points, const WinogradLines& l, Ints<I...>) {
  static constexpr TransformLines interpolate[] = {transform_lines<Interpolate<I + 1>>...};
  interpolate[points - 1](l);
}

static void winograd_lines(WinogradTransform kind, int points, int n, const WinogradLines& l) {
  if (kind == WinogradTransform::interpolate) {
    choose_interpolation(points, l, MakeInts<kWinogradPoints>{});
  } else {
    choose_transform(kind, points, n, l, MakeInts<kWinogradPoints * kWinogradPoints>{});
  }
}

// --- multiplication at one point -----------------------------------------------------------------

/// kByLanes: A as the data transform leaves it, a[k / kLanes][row][k % kLanes]; otherwise
/// a[k][row] with rows of lda.
template <int Rows, int Vectors, bool kByLanes>
static void winograd_tile_of(const WinogradTile& t) {
  Vec sum[Rows][Vectors] = {};
  const int64_t row_step = kByLanes ? kLanes : 1;
  const int64_t step = kByLanes ? 1 : t.lda, jump = kByLanes ? (Rows - 1) * kLanes : 0;
  const float* a = t.a;
  const float* b = t.b;
  for (int64_t k = 0; k < t.K; k += kLanes, a += jump) {
    const int64_t steps = t.K - k < kLanes ? t.K - k : kLanes;
    for (int64_t q = 0; q < steps; ++q, a += step, b += t.ldb) {
      Vec row[Vectors];
#pragma GCC unroll 2
      for (int j = 0; j < Vectors; ++j) row[j] = load(b + j * kLanes);
#pragma GCC unroll 14
      for (int i = 0; i < Rows; ++i) {
        const Vec factor = broadcast(a[i * row_step]);
#pragma GCC unroll 2
        for (int j = 0; j < Vectors; ++j) sum[i][j] += factor * row[j];
      }
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) {
      float* c = t.c + i * t.ldc + j * kLanes;
      store(c, t.accumulate ? load(c) + sum[i][j] : sum[i][j]);
    }
  }
}

template <bool kByLanes, int... Row>
static void choose_winograd_tile(int64_t rows, int vectors, const WinogradTile& t, Ints<Row...>) {
  static constexpr void (*tiles[][2])(const WinogradTile&) = {
      {winograd_tile_of<Row + 1, 1, kByLanes>, winograd_tile_of<Row + 1, 2, kByLanes>}...};
  tiles[rows - 1][vectors - 1](t);
}

template <bool kByLanes>
static void winograd_tile(int64_t rows, int vectors, const WinogradTile& t) {
  choose_winograd_tile<kByLanes>(rows, vectors, t, MakeInts<kTileRows>{});
}

// --- channels into lanes, and back ---------------------------------------------------------------

/// to[row][column][lane] = from[lane][row][column] for the channels there are; outside the image,
/// and in the other lanes, 0.
static void planes_to_lanes(float* to, const float* from, const WinogradPlanes& p) {
  for (int64_t row = 0; row < p.rows; ++row, to += p.columns * kLanes) {
    const int64_t h = p.top + row;
    const int64_t begin = p.left < 0 ? (-p.left < p.columns ? -p.left : p.columns) : 0;
    int64_t end = p.width - p.left;
    if (end > p.columns) end = p.columns;
    if (h < 0 || h >= p.height || end <= begin) {
      for (int64_t i = 0; i < p.columns; ++i) store(to + i * kLanes, Vec{});
      continue;
    }
    for (int64_t i = 0; i < begin; ++i) store(to + i * kLanes, Vec{});
    for (int64_t i = end; i < p.columns; ++i) store(to + i * kLanes, Vec{});
    const float* line = from + h * p.width + p.left;
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t wide = end - i < kLanes ? end - i : kLanes;
      Vec v[kLanes];
      for (int c = 0; c < kLanes; ++c) {
        const float* at = line + c * p.plane + i;
        v[c] = c >= p.channels ? Vec{} : wide == kLanes ? load(at) : load_first(at, wide);
      }
      transpose_square(v);
      for (int c = 0; c < wide; ++c) store(to + (i + c) * kLanes, v[c]);
    }
  }
}

/// to[lane][pixel] = from[pixel][lane] + bias[lane], planes `plane` apart; with relu, max(0, that).
static void lanes_to_planes(float* to, int64_t plane, const float* from, int64_t pixels,
                            int64_t channels, const float* bias, bool with_relu) {
  const Vec start = bias == nullptr      ? Vec{}
                    : channels == kLanes ? load(bias)
                                         : load_first(bias, channels);
  for (int64_t i = 0; i < pixels; i += kLanes) {
    const int64_t wide = pixels - i < kLanes ? pixels - i : kLanes;
    Vec v[kLanes];
    for (int c = 0; c < kLanes; ++c) {
      v[c] = c < wide ? load(from + (i + c) * kLanes) + start : Vec{};
      if (with_relu) v[c] = relu(v[c]);
    }
    transpose_square(v);
    for (int64_t c = 0; c < channels; ++c) {
      if (wide == kLanes) {
        store(to + c * plane + i, v[c]);
      } else {
        store_first(to + c * plane + i, v[c], wide);
      }
    }
  }
}

}  // namespace striate::cpu::STRIATE_ISA
