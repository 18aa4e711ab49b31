// avg_pool2d: small windows by a thread each, large ones by a warp or a block each. Backward
// gathers, as max_pool2d does: a thread for each cell of the input, or for each element.
#include <cuda_runtime.h>

#include <shared.cuh>

#include "cuda/divide.cuh"
#include "cuda/launch.h"
#include "cuda/pool2d.cuh"
#include "striate/pool2d.h"

namespace striate::cuda {
namespace {

constexpr int kGlobalRun = 4;  // elements of a thread

struct Pool {
  PoolAxis rows, columns;
  Places places;
};

// What a mean divides by; `all` where it is the same for every window, else 0.
struct Divisor {
  float all;
  bool count_include_pad;

  __device__ float axis(const PoolAxis& a, const PoolTaps& taps) const {
    if (!count_include_pad) return static_cast<float>(taps.count());
    const unsigned room = a.input + a.after - static_cast<unsigned>(taps.start);
    return static_cast<float>(a.kernel < room ? a.kernel : room);
  }
  __device__ float operator()(const Pool& s, const PoolTaps& rows, const PoolTaps& columns) const {
    return all != 0 ? all : axis(s.rows, rows) * axis(s.columns, columns);
  }
};

// Windows start earlier than they end: the first and the last tell of all.
bool all_whole(int64_t input, int64_t outputs, int64_t kernel, int64_t stride, int64_t before,
               int64_t after, const Pool2dDivisor& d) {
  const int64_t past = (outputs - 1) * stride - before + kernel - input;  // of the last window
  return d.count_include_pad ? past <= after : before == 0 && past <= 0;
}

Divisor divisor_of(const Pool2dShape& s, const Pool2dDivisor& d) {
  if (d.divisor_override != 0) return {static_cast<float>(d.divisor_override), false};
  const bool whole = all_whole(s.H, s.P, s.R, s.stride_h, s.top, s.bottom, d) &&
                     all_whole(s.W, s.Q, s.S, s.stride_w, s.left, s.right, d);
  return {whole ? static_cast<float>(static_cast<double>(s.R) * static_cast<double>(s.S)) : 0.0f,
          d.count_include_pad};
}

bool is_global(const Pool2dShape& s) {
  return s.R == s.H && s.S == s.W && s.P == 1 && s.Q == 1 &&
         (s.top | s.left | s.bottom | s.right) == 0;
}

// A window inside the plane, or cut by its border: whatever lies outside is 0.
template <int kR, int kS>
__device__ float sum_of(const float* x, const Pool& s, unsigned p, unsigned q) {
  const unsigned H = s.rows.input, W = s.columns.input;
  const int h0 = s.rows.start(p), w0 = s.columns.start(q);
  const float* row = x + int64_t{h0} * W + w0;
  float v[kR][kS];
#pragma unroll
  for (int r = 0; r < kR; ++r, row += W) {
    const bool inside = static_cast<unsigned>(h0 + r) < H;
#pragma unroll
    for (int j = 0; j < kS; ++j) {
      v[r][j] = inside && static_cast<unsigned>(w0 + j) < W ? row[j] : 0.0f;
    }
  }
  float sum = 0;
#pragma unroll
  for (int r = 0; r < kR; ++r) {
#pragma unroll
    for (int j = 0; j < kS; ++j) sum += v[r][j];
  }
  return sum;
}

// The first element of a window.
__device__ const float* first_of(const float* x, const Pool& s, const PoolTaps& rows,
                                 const PoolTaps& columns) {
  const int64_t h = int64_t{rows.start} + rows.begin, w = int64_t{columns.start} + columns.begin;
  return x + h * s.columns.input + w;
}

template <int kR, int kS>  // 0, 0: any
__global__ void __launch_bounds__(kPoolThreads)
    forward_kernel(float* y, const float* x, Pool s, Divisor divisor) {
  const unsigned number = blockIdx.x * kPoolThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const unsigned P = s.rows.outputs, Q = s.columns.outputs;
  const unsigned p = at.p * kPoolRun, q = static_cast<unsigned>(at.q);
  x += at.i * s.rows.input * s.columns.input;
  const PoolTaps columns = s.columns.taps(q);
  float sums[kPoolRun];  // all are loaded before the first is stored
#pragma unroll
  for (int i = 0; i < kPoolRun; ++i) {
    if constexpr (kR > 0) {
      sums[i] = sum_of<kR, kS>(x, s, p + i, q);
    } else if (p + i < P) {
      const PoolTaps rows = s.rows.taps(p + i);
      sums[i] =
          window_sum(first_of(x, s, rows, columns), s.columns.input, rows.count(), columns.count());
    }
  }
  y += (at.i * P + p) * Q + q;
#pragma unroll
  for (int i = 0; i < kPoolRun; ++i, y += Q) {
    if (p + i < P) *y = sums[i] / divisor(s, s.rows.taps(p + i), columns);
  }
}

template <int kThreads>  // that share a window
__global__ void __launch_bounds__(kPoolThreads)
    forward_team_kernel(float* y, const float* x, Pool s, Divisor divisor) {
  constexpr unsigned kTeams = kPoolThreads / kThreads;
  const unsigned team = blockIdx.x * kTeams + threadIdx.x / kThreads;
  if (team >= s.places.count) return;
  const Place at = s.places(team);
  const unsigned q = static_cast<unsigned>(at.q), thread = threadIdx.x % kThreads;
  const PoolTaps rows = s.rows.taps(at.p), columns = s.columns.taps(q);
  x = first_of(x + at.i * s.rows.input * s.columns.input, s, rows, columns);
  double* const partial = kThreads > kWarp ? shared_memory<PoolShared>().partial : nullptr;
  const float sum =
      team_window_sum<kThreads>(x, s.columns.input, rows.count(), columns.count(), thread, partial);
  if (thread == 0) {
    y[(at.i * s.rows.outputs + at.p) * s.columns.outputs + q] = sum / divisor(s, rows, columns);
  }
}

template <int kStride, int kWindows>
__global__ void __launch_bounds__(kPoolThreads)
    backward_kernel(float* dx, const float* dy, Pool s, Divisor divisor) {
  constexpr int kRows = kPoolRun + kWindows - 1;
  const unsigned number = blockIdx.x * kPoolThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const unsigned H = s.rows.input, W = s.columns.input;
  const unsigned P = s.rows.outputs, Q = s.columns.outputs;
  const unsigned cell_row = at.p * kPoolRun, cell_column = static_cast<unsigned>(at.q);

  // The first window's; below 0 is far above P, being unsigned.
  const unsigned p0 = cell_row - (kWindows - 1), q0 = cell_column - (kWindows - 1);
  dy += (at.i * P + static_cast<int>(p0)) * Q + static_cast<int>(q0);
  float shares[kRows][kWindows];
#pragma unroll
  for (int i = 0; i < kRows; ++i, dy += Q) {
#pragma unroll
    for (int j = 0; j < kWindows; ++j) shares[i][j] = p0 + i < P && q0 + j < Q ? dy[j] : 0.0f;
  }
  if (divisor.all == 0) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kWindows; ++j) {
        if (p0 + i < P && q0 + j < Q) {
          shares[i][j] /= divisor(s, s.rows.taps(p0 + i), s.columns.taps(q0 + j));
        }
      }
    }
  }

  const unsigned h0 = cell_row * kStride - s.rows.before;
  const unsigned w0 = cell_column * kStride - s.columns.before;
  float* row = dx + (at.i * H + static_cast<int>(h0)) * W;
#pragma unroll
  for (int i = 0; i < kPoolRun * kStride; ++i, row += W) {
    if (h0 + i >= H) continue;
    float sums[kStride];
#pragma unroll
    for (int j = 0; j < kStride; ++j) {
      sums[j] = 0;
#pragma unroll
      for (int k = 0; k < kWindows; ++k) {  // that begin so many strides before the cell
        const int r = (kWindows - 1 - k) * kStride + i % kStride;
#pragma unroll
        for (int l = 0; l < kWindows; ++l) {
          const int c = (kWindows - 1 - l) * kStride + j;
          const bool holds =
              r < static_cast<int>(s.rows.kernel) && c < static_cast<int>(s.columns.kernel);
          if (holds) sums[j] += shares[i / kStride + k][l];
        }
      }
      if (divisor.all != 0) sums[j] /= divisor.all;
    }
    store_cell_row(row, sums, w0, W);
  }
}

// One window over the whole plane.
__global__ void __launch_bounds__(kPoolThreads)
    backward_global_kernel(float* dx, const float* dy, int64_t plane, Places places,
                           float divisor) {
  const unsigned first = blockIdx.x * kPoolThreads * kGlobalRun + threadIdx.x;
  for (int i = 0; i < kGlobalRun; ++i) {
    const unsigned number = first + i * kPoolThreads;
    if (number >= places.count) return;
    const Place at = places(number);
    dx[at.i * plane + at.q] = dy[at.i] / divisor;
  }
}

// A thread for each element, and any window. (Two blocks of a multiprocessor leave it registers.)
__global__ void __launch_bounds__(kPoolThreads, 2)
    backward_any_kernel(float* dx, const float* dy, Pool s, Divisor divisor,
                        PoolHolding holding_row, PoolHolding holding_column) {
  const unsigned number = blockIdx.x * kPoolThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const unsigned Q = s.columns.outputs, w = static_cast<unsigned>(at.q);
  const PoolHolders rows = holding_row(at.p), columns = holding_column(w);
  double sum = 0;
  for (unsigned p = rows.begin; p < rows.end; ++p) {
    const float* const row = dy + (at.i * s.rows.outputs + p) * Q;
    const PoolTaps taps = s.rows.taps(p);
    float part = 0;
    for (unsigned q = columns.begin; q < columns.end; ++q) {
      part += divisor.all != 0 ? row[q] : row[q] / divisor(s, taps, s.columns.taps(q));
      if ((q - columns.begin) % kFloatSum == kFloatSum - 1) sum += part, part = 0;
    }
    sum += part;
  }
  const float total = static_cast<float>(sum);
  dx[(at.i * s.rows.input + at.p) * s.columns.input + w] =
      divisor.all != 0 ? total / divisor.all : total;
}

}  // namespace

void avg_pool2d_forward(float* y, const float* x, const Pool2dShape& s,
                        const Pool2dDivisor& divisor) {
  const Op op = pool_op("avg_pool2d_forward", s, 1);
  const int64_t step = s.Q > 1 ? s.stride_w : 1;
  const int team = window_team(std::min(s.R, s.H), std::min(s.S, s.W), step, s.Q);
  const auto kernel = team == kPoolThreads  ? forward_team_kernel<kPoolThreads>
                      : team == kWarp       ? forward_team_kernel<kWarp>
                      : has_window(s, 2, 2) ? forward_kernel<2, 2>
                      : has_window(s, 3, 3) ? forward_kernel<3, 3>
                                            : forward_kernel<0, 0>;
  const int64_t runs = team > 1 ? s.P : (s.P + kPoolRun - 1) / kPoolRun;
  for_all_places(s.N * s.C, runs, s.Q, [&](const Places& places) {
    op.launch({blocks(int64_t{places.count} * team, kPoolThreads), kPoolThreads,
               team == kPoolThreads ? sizeof(PoolShared) : 0},
              kernel, y, x, Pool{pool_rows(s), pool_columns(s), places}, divisor_of(s, divisor));
  });
}

void avg_pool2d_backward(float* dx, const float* dy, const Pool2dShape& s,
                         const Pool2dDivisor& divisor) {
  const Op op = pool_op("avg_pool2d_backward", s, 1);
  const Divisor divides = divisor_of(s, divisor);
  const auto gather = [&](auto kernel, int64_t rows, int64_t columns, auto... more) {
    for_all_places(s.N * s.C, rows, columns, [&](const Places& places) {
      op.launch({blocks(places.count, kPoolThreads), kPoolThreads}, kernel, dx, dy,
                Pool{pool_rows(s), pool_columns(s), places}, divides, more...);
    });
  };
  if (is_global(s)) {
    for_all_places(s.N * s.C, 1, s.H * s.W, [&](const Places& places) {
      op.launch({blocks(places.count, kPoolThreads * kGlobalRun), kPoolThreads},
                backward_global_kernel, dx, dy, s.H * s.W, places, divides.all);
    });
    return;
  }
  const PoolCells cells = pool_cells(s);
  if (has_cells(s, 2, 1)) {
    gather(backward_kernel<2, 1>, cells.rows, cells.columns);
  } else if (has_cells(s, 2, 2)) {
    gather(backward_kernel<2, 2>, cells.rows, cells.columns);
  } else if (has_cells(s, 3, 1)) {
    gather(backward_kernel<3, 1>, cells.rows, cells.columns);
  } else if (has_cells(s, 1, 3)) {
    gather(backward_kernel<1, 3>, cells.rows, cells.columns);
  } else {
    gather(backward_any_kernel, s.H, s.W, PoolHolding(pool_rows(s)), PoolHolding(pool_columns(s)));
  }
}

}  // namespace striate::cuda
