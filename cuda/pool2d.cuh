// What the pools share: a plane's two axes in 32 bits, and the sum of one window.
//
// H, W and the kernel sizes are below 2^31, and so is the start of every window; what is computed
// on the way may wrap around, so it is unsigned.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "cuda/divide.cuh"
#include "cuda/launch.h"
#include "cuda/reduce.cuh"
#include "striate/pool2d.h"

namespace striate::cuda {

constexpr int kPoolThreads = 256;
constexpr int kPoolRun = 2;  // windows or cells, one below the other, that a thread takes

/// pool2d_taps of pool2d.h.
struct PoolTaps {
  int start;
  unsigned begin, end;

  __device__ unsigned count() const { return end - begin; }
};

/// One axis of a pool.
struct PoolAxis {
  unsigned input, outputs, kernel, stride, before, after, dilation;

  __device__ int start(unsigned output) const { return static_cast<int>(output * stride - before); }
  template <bool kDilated = false>
  __device__ PoolTaps taps(unsigned output) const {
    const int first = start(output);
    unsigned begin = first < 0 ? -static_cast<unsigned>(first) : 0;
    unsigned end = first < static_cast<int>(input) ? input - static_cast<unsigned>(first) : 0;
    if (kDilated && dilation != 1) {
      if (begin > 0) begin = (begin - 1) / dilation + 1;
      if (end > 0) end = (end - 1) / dilation + 1;
    }
    end = end < kernel ? end : kernel;
    return {first, begin, end < begin ? begin : end};
  }
};

inline PoolAxis pool_axis(int64_t input, int64_t outputs, int64_t kernel, int64_t stride,
                          int64_t before, int64_t after, int64_t dilation) {
  return {static_cast<unsigned>(input),   static_cast<unsigned>(outputs),
          static_cast<unsigned>(kernel),  static_cast<unsigned>(stride),
          static_cast<unsigned>(before),  static_cast<unsigned>(after),
          static_cast<unsigned>(dilation)};
}
inline PoolAxis pool_rows(const Pool2dShape& s) {
  return pool_axis(s.H, s.P, s.R, s.stride_h, s.top, s.bottom, s.dilation_h);
}
inline PoolAxis pool_columns(const Pool2dShape& s) {
  return pool_axis(s.W, s.Q, s.S, s.stride_w, s.left, s.right, s.dilation_w);
}

/// Op is not copied: this makes it in place. `outputs`: arrays of the output's size, 1 or 2.
inline Op pool_op(const char* name, const Pool2dShape& s, int outputs) {
  return Op(name,
            {{"N", s.N},
             {"C", s.C},
             {"H", s.H},
             {"W", s.W},
             {"R", s.R},
             {"S", s.S},
             {"P", s.P},
             {"Q", s.Q},
             {"stride", s.stride_h},
             {"pad", s.top}},
            {.bytes = 4.0 * s.N * s.C * (s.H * s.W + outputs * s.P * s.Q)});
}

/// R x S windows without dilation.
inline bool has_window(const Pool2dShape& s, int64_t R, int64_t S) {
  return s.R == R && s.S == S && s.dilation_h == 1 && s.dilation_w == 1;
}

// --- the windows that hold an input element ------------------------------------------------------

/// The input is cut into cells of one stride by one stride. All elements of a cell lie in the same
/// few windows, so threads take whole cells: kPoolRun of them, one below the other, since what it
/// costs to find a place is then shared. Cell a may lie in the windows up to its own number.
struct PoolCells {
  int64_t rows, columns;  // rows: of runs
};
inline PoolCells pool_cells(const Pool2dShape& s) {
  return {(s.H + s.top + kPoolRun * s.stride_h - 1) / (kPoolRun * s.stride_h),
          (s.W + s.left + s.stride_w - 1) / s.stride_w};
}

/// Whether kernel sizes, strides and dilation suit cells of these template arguments.
inline bool has_cells(const Pool2dShape& s, int64_t stride, int64_t windows) {
  const auto axis = [&](int64_t kernel, int64_t step, int64_t dilation) {
    return step == stride && dilation == 1 && kernel <= stride * windows &&
           kernel > stride * (windows - 1);
  };
  return axis(s.R, s.stride_h, s.dilation_h) && axis(s.S, s.stride_w, s.dilation_w);
}

/// to[0] and to[1]; in one piece where it can be, since halves of a sector cost as much as wholes.
__device__ inline void store_pair(float* to, float a, float b) {
  if (reinterpret_cast<uintptr_t>(to) % sizeof(float2) == 0) {
    *reinterpret_cast<float2*>(to) = make_float2(a, b);
  } else {
    to[0] = a;
    to[1] = b;
  }
}

/// Writes row[w .. w + kStride) as far as it lies in the row of W; w below 0 is wrapped around.
template <int kStride>
__device__ void store_cell_row(float* row, const float (&values)[kStride], unsigned w, unsigned W) {
  float* const to = row + static_cast<int>(w);
  if constexpr (kStride == 2) {
    if (w < W && w + 1 < W) return store_pair(to, values[0], values[1]);
  }
#pragma unroll
  for (int j = 0; j < kStride; ++j) {
    if (w + j < W) to[j] = values[j];
  }
}

/// The windows [begin, end) that reach over one input position.
struct PoolHolders {
  unsigned begin, end;
};

/// For strides and windows of any size.
struct PoolHolding {
  Divide stride;
  unsigned before, extent, outputs;

  explicit PoolHolding(const PoolAxis& a)
      : stride(a.stride),
        before(a.before),
        extent(static_cast<unsigned>(
            std::min<int64_t>(int64_t{a.dilation} * (a.kernel - 1) + 1, UINT32_MAX))),
        outputs(a.outputs) {}

  __device__ PoolHolders operator()(unsigned position) const {
    const unsigned at = position + before, last = stride(at);
    return {at < extent ? 0 : stride(at - extent) + 1, last < outputs ? last + 1 : outputs};
  }
};

// --- sums of windows -----------------------------------------------------------------------------

/// Columns that are summed in float before they are added in double: enough to make the doubles,
/// which many GPUs are slow at, rare, and few enough to keep the digits.
constexpr unsigned kFloatSum = 32;

/// The sum of `rows` x `columns` elements, rows being `pitch` apart.
__device__ inline float window_sum(const float* x, int64_t pitch, unsigned rows, unsigned columns) {
  double sum = 0;
  for (unsigned r = 0; r < rows; ++r, x += pitch) {
    for (unsigned first = 0; first < columns; first += kFloatSum) {
      const unsigned end = columns - first < kFloatSum ? columns : first + kFloatSum;
      float part = 0;
      for (unsigned c = first; c < end; ++c) part += x[c];
      sum += part;
    }
  }
  return static_cast<float>(sum);
}

/// The same by a warp or a block of kThreads, of which this is number `thread`.
template <int kThreads>
__device__ float team_window_sum(const float* x, int64_t pitch, unsigned rows, unsigned columns,
                                 unsigned thread, double* partial) {
  double sum = 0;
  if (columns >= kThreads) {
    for (unsigned r = 0; r < rows; ++r, x += pitch) {
      for (unsigned c = thread; c < columns; c += kThreads) sum += x[c];
    }
  } else if (columns > 0) {  // several rows at once
    const unsigned step_rows = kThreads / columns, step_columns = kThreads % columns;
    unsigned r = thread / columns, c = thread % columns;
    while (r < rows) {
      sum += x[r * pitch + c];
      r += step_rows;
      c += step_columns;
      if (c >= columns) ++r, c -= columns;
    }
  }
  if constexpr (kThreads == kWarp) {
    sum = warp_reduce(sum, Sum{});
  } else {
    sum = block_reduce<kThreads>(sum, partial, Sum{});
  }
  return static_cast<float>(sum);
}

/// Shared memory of a block that sums one window.
struct PoolShared {
  double partial[kPoolThreads / kWarp];
};

/// How many threads sum one window of this size: more than one where there is enough to add, and
/// where neighbouring windows are so far apart that threads on them would read far apart, too.
inline int window_team(int64_t rows, int64_t columns, int64_t step, int64_t outputs) {
  const int64_t size = rows * columns;
  if (size < kWarp || (outputs > 1 && step < 4 && size < 1024)) return 1;
  return size < 8 * kPoolThreads ? kWarp : kPoolThreads;
}

}  // namespace striate::cuda
