// Both pools forward, over rows of output: vector lanes are neighbouring outputs of one row.
//
// Where the windows lie inside the plane, kLanes of them are folded at once, one (strided)
// load for each of their R * S elements. Such a block may read a little past its row, and write
// past its row into the next one, which is written later. Windows over the border, and the last
// rows of the array and of the caller's chunk, are folded one by one. Both ways go row by row,
// element by element, so they give the same bits.
#pragma once

#include "cpu/kernels/simd.h"
#include "striate/pool2d.h"

namespace striate::cpu::STRIATE_ISA {

/// x[column], x[column + stride], ...; kStride 0 is any stride. Stride 2 reads 2 * kLanes floats
/// from an even column on, so that a window's even and odd columns share their loads.
template <int kStride>
static inline Vec load_strided(const float* x, int64_t column, int64_t stride) {
  if constexpr (kStride == 1) {
    return load(x + column);
  } else if constexpr (kStride == 2) {
    const float* pairs = x + (column & ~int64_t{1});
    const Vec a = load(pairs), b = load(pairs + kLanes);
    return column % 2 == 0 ? evens(a, b) : odds(a, b);
  } else {
    Vec v = {};
    for (int i = 0; i < kLanes; ++i) v[i] = x[column + i * stride];
    return v;
  }
}

// Unsigned: the lanes that hang over may wrap.
typedef uint32_t Positions __attribute__((vector_size(kLanes * 4)));

// --- what is done with the elements of one window (V = float) or of kLanes of them (V = Vec) -----

/// The first of the largest, or the last NaN; and how far from the first element it lies.
template <bool kIndices>
struct Largest {
  template <class V, class I>
  struct Fold {
    V value;
    I offset;
    void start(V v) { value = v, offset = I{}; }
    void take(V v, I at) {
      const auto wins = (v > value) | (v != v);
      value = wins ? v : value;
      if constexpr (kIndices) offset = wins ? at : offset;
    }
  };

  float* y;
  int32_t* indices;

  void put(int64_t i, const Fold<Vec, IntVec>& f, Positions first) const {
    store(y + i, f.value);
    if constexpr (kIndices) {
      const Positions winner = first + reinterpret_cast<Positions>(f.offset);
      *reinterpret_cast<UnalignedIntVec*>(indices + i) = reinterpret_cast<IntVec>(winner);
    }
  }
  void put(int64_t i, const Fold<float, int32_t>& f, int64_t first, const Pool2dTaps&,
           const Pool2dTaps&) const {
    y[i] = f.value;
    if constexpr (kIndices) indices[i] = static_cast<int32_t>(first) + f.offset;
  }
  void put_empty(int64_t i) const {
    y[i] = -__builtin_inff();
    if constexpr (kIndices) indices[i] = -1;
  }
};

struct Mean {
  template <class V, class I>
  struct Fold {
    V sum;
    void start(V v) { sum = v; }
    void take(V v, I) { sum += v; }
  };

  float* y;
  const Pool2dShape& s;
  const Pool2dDivisor& d;
  float divisor;  // of the windows that are not cut at the left or right

  void put(int64_t i, const Fold<Vec, IntVec>& f, Positions) const {
    store(y + i, f.sum / divisor);
  }
  void put(int64_t i, const Fold<float, int32_t>& f, int64_t, const Pool2dTaps& rows,
           const Pool2dTaps& columns) const {
    const bool whole = columns.end - columns.begin == s.S;
    y[i] = f.sum / (whole ? divisor : static_cast<float>(pool2d_divisor(s, d, rows, columns)));
  }
  void put_empty(int64_t i) const { y[i] = 0; }
};

// --- the rows ------------------------------------------------------------------------------------

/// The outputs along one axis whose windows lie inside the plane.
struct Interior {
  int64_t begin, end;
};

static inline Interior pool2d_interior(int64_t output, int64_t input, int64_t kernel,
                                       int64_t stride, int64_t before, int64_t dilation) {
  const int64_t begin = (before + stride - 1) / stride;
  const int64_t last = input - 1 - dilation * (kernel - 1) + before;  // start of the last window
  int64_t end = last < 0 ? 0 : last / stride + 1;
  if (end > output) end = output;
  return {begin < output ? begin : output, end < begin ? (begin < output ? begin : output) : end};
}

/// Consecutive rows of output whose windows hold the same kernel rows.
struct Run {
  const Pool2dShape& s;
  Interior columns;
  const float* plane;
  int64_t readable;      // floats from there to the end of the whole array
  Pool2dTaps taps;       // of the first row
  int64_t out, out_end;  // position of the first output, and the end of what may be written
  int64_t rows;
};

template <class Op>
static void pool2d_window(const Op& op, const Run& run, int64_t p, int64_t q) {
  const Pool2dShape& s = run.s;
  const Pool2dTaps columns = pool2d_columns(s, q);
  Pool2dTaps rows = run.taps;
  rows.start += p * s.stride_h;
  const int64_t out = run.out + p * s.Q + q;
  if (rows.begin == rows.end || columns.begin == columns.end) return op.put_empty(out);
  const int64_t first =
      (rows.start + rows.begin * s.dilation_h) * s.W + columns.start + columns.begin * s.dilation_w;
  const float* x = run.plane + first;
  typename Op::template Fold<float, int32_t> fold;
  fold.start(x[0]);
  for (int64_t i = 0; i < rows.end - rows.begin; ++i) {
    for (int64_t j = i == 0 ? 1 : 0; j < columns.end - columns.begin; ++j) {
      const int64_t offset = i * s.dilation_h * s.W + j * s.dilation_w;
      fold.take(x[offset], static_cast<int32_t>(offset));
    }
  }
  op.put(out, fold, first, rows, columns);
}

/// How many of the run's rows leave room to read and write whole vectors.
static inline int64_t pool2d_vector_rows(const Run& run) {
  const Pool2dShape& s = run.s;
  const int64_t count = run.columns.end - run.columns.begin;
  const int64_t last = run.columns.begin + (count > kLanes ? count : kLanes) - 1;
  const int64_t reach = (run.taps.start + (run.taps.end - 1) * s.dilation_h) * s.W - s.left +
                        last * s.stride_w + (s.S - 1) * s.dilation_w + 1;
  // Loads of another stride are kLanes single ones.
  const bool worth_it = count >= (s.stride_w <= 2 ? 1 : kLanes / 2);
  int64_t rows = worth_it && run.taps.end > run.taps.begin ? run.rows : 0;
  for (; rows > 0; --rows) {
    const bool read = (rows - 1) * s.stride_h * s.W + reach < run.readable;
    if (read && run.out + (rows - 1) * s.Q + last < run.out_end) break;
  }
  return rows;
}

/// kRows, kColumns and kStride are the window's, or 0: any.
template <class Op, int kStride, int kRows, int kColumns>
static void pool2d_run(const Op& op, const Run& run) {
  const Pool2dShape& s = run.s;
  const int64_t height = kRows > 0 ? kRows : run.taps.end - run.taps.begin;
  const int64_t width = kColumns > 0 ? kColumns : s.S;
  const int64_t row_step = s.dilation_h * s.W, column_step = kColumns > 0 ? 1 : s.dilation_w;
  const int64_t stride = kStride > 0 ? kStride : s.stride_w;
  Positions steps = {};
  for (int i = 0; i < kLanes; ++i) steps[i] = i;
  steps *= static_cast<uint32_t>(stride);
  const Interior columns = run.columns;
  const int64_t vector_rows = pool2d_vector_rows(run);

  for (int64_t p = 0; p < run.rows; ++p) {
    const bool whole = p < vector_rows;
    const int64_t row = run.taps.start + run.taps.begin * s.dilation_h + p * s.stride_h;
    const int64_t out = run.out + p * s.Q;
    for (int64_t q = 0; q < (whole ? columns.begin : s.Q); ++q) pool2d_window(op, run, p, q);
    if (!whole) continue;
    for (int64_t block = columns.begin; block < columns.end; block += kLanes) {
      int64_t q = block;
      // The last block overlaps the one before, unless there is none: then it hangs over.
      if (q + kLanes > columns.end && columns.end - columns.begin > kLanes) {
        q = columns.end - kLanes;
      }
      const int64_t first = row * s.W + q * stride - s.left;
      const float* x = run.plane + first;
      typename Op::template Fold<Vec, IntVec> fold;
      fold.start(load_strided<kStride>(x, 0, stride));
      for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = i == 0 ? 1 : 0; j < width; ++j) {
          fold.take(load_strided<kStride>(x + i * row_step, j * column_step, stride),
                    broadcast_int(static_cast<int32_t>(i * row_step + j * column_step)));
        }
      }
      op.put(out + q, fold, steps + static_cast<uint32_t>(first));
    }
    for (int64_t q = columns.end; q < s.Q; ++q) pool2d_window(op, run, p, q);
  }
}

template <class Op>
static void pool2d_dispatch(const Op& op, const Run& run) {
  const Pool2dShape& s = run.s;
  const int64_t height = run.taps.end - run.taps.begin;
  if (s.stride_w == 2 && height == 2 && s.S == 2 && s.dilation_w == 1) {
    pool2d_run<Op, 2, 2, 2>(op, run);
  } else if (s.stride_w == 2 && height == 3 && s.S == 3 && s.dilation_w == 1) {
    pool2d_run<Op, 2, 3, 3>(op, run);
  } else if (s.stride_w == 2) {
    pool2d_run<Op, 2, 0, 0>(op, run);
  } else if (s.stride_w == 1) {
    pool2d_run<Op, 1, 0, 0>(op, run);
  } else {
    pool2d_run<Op, 0, 0, 0>(op, run);
  }
}

/// Rows [begin, end) of the N * C * P rows of output.
template <class Op>
static void pool2d_forward(Op op, const float* x, const Pool2dShape& s, int64_t begin,
                           int64_t end) {
  const Interior rows = pool2d_interior(s.P, s.H, s.R, s.stride_h, s.top, s.dilation_h);
  const Interior columns = pool2d_interior(s.Q, s.W, s.S, s.stride_w, s.left, s.dilation_w);
  for (int64_t row = begin; row < end;) {
    const int64_t plane = row / s.P, p = row % s.P;
    int64_t count = rows.begin <= p && p < rows.end ? rows.end - p : 1;
    if (count > end - row) count = end - row;
    const Run run = {s,
                     columns,
                     x + plane * s.H * s.W,
                     (s.N * s.C - plane) * s.H * s.W,
                     pool2d_rows(s, p),
                     row * s.Q,
                     end * s.Q,
                     count};
    if constexpr (__is_same(Op, Mean)) {
      op.divisor =
          static_cast<float>(pool2d_divisor(s, op.d, run.taps, pool2d_columns(s, columns.begin)));
    }
    pool2d_dispatch(op, run);
    row += count;
  }
}

static void max_pool2d_forward(float* y, int32_t* indices, const float* x, const Pool2dShape& s,
                               int64_t begin, int64_t end) {
  if (indices != nullptr) {
    pool2d_forward(Largest<true>{y, indices}, x, s, begin, end);
  } else {
    pool2d_forward(Largest<false>{y, nullptr}, x, s, begin, end);
  }
}

static void avg_pool2d_forward(float* y, const float* x, const Pool2dShape& s,
                               const Pool2dDivisor& divisor, int64_t begin, int64_t end) {
  pool2d_forward(Mean{y, s, divisor, 1.0f}, x, s, begin, end);
}

}  // namespace striate::cpu::STRIATE_ISA
