// max_pool2d: forward a thread for each window, backward a thread for each cell of the input, which
// gathers from its windows in the order of p and q; so there are no atomics, and one order of sums.
#include <cuda_runtime.h>

#include "cuda/divide.cuh"
#include "cuda/launch.h"
#include "cuda/pool2d.cuh"
#include "striate/pool2d.h"

namespace striate::cuda {
namespace {

struct Pool {
  PoolAxis rows, columns;
  Places places;
};

// The first of the largest, or the last NaN. `winner` stands for a window of -inf only.
struct Largest {
  float value;
  unsigned winner;

  Largest() = default;
  __device__ explicit Largest(unsigned first) : value(-__builtin_huge_valf()), winner(first) {}
  __device__ void take(float x, unsigned index) {
    const bool wins = x > value || x != x;
    value = wins ? x : value;
    winner = wins ? index : winner;
  }
};

// A window inside the plane, or cut by its border: whatever lies outside is -inf and never wins.
template <int kR, int kS>
__device__ Largest largest_of(const float* x, const Pool& s, unsigned p, unsigned q) {
  const unsigned H = s.rows.input, W = s.columns.input;
  const int h0 = s.rows.start(p), w0 = s.columns.start(q);
  const float* row = x + int64_t{h0} * W + w0;
  float v[kR][kS];
#pragma unroll
  for (int r = 0; r < kR; ++r, row += W) {
    const bool inside = static_cast<unsigned>(h0 + r) < H;
#pragma unroll
    for (int j = 0; j < kS; ++j) {
      const bool here = inside && static_cast<unsigned>(w0 + j) < W;
      v[r][j] = here ? row[j] : -__builtin_huge_valf();
    }
  }
  unsigned index = static_cast<unsigned>(h0) * W + static_cast<unsigned>(w0);
  Largest largest(index + (h0 < 0 ? -static_cast<unsigned>(h0) * W : 0) +
                  (w0 < 0 ? -static_cast<unsigned>(w0) : 0));
#pragma unroll
  for (int r = 0; r < kR; ++r, index += W) {
#pragma unroll
    for (int j = 0; j < kS; ++j) largest.take(v[r][j], index + j);
  }
  return largest;
}

// Any window; with dilation it may hold no element.
__device__ Largest largest_of_any(const float* x, const Pool& s, unsigned p, unsigned q) {
  const PoolTaps rows = s.rows.taps<true>(p), columns = s.columns.taps<true>(q);
  const unsigned W = s.columns.input;
  if (rows.count() == 0 || columns.count() == 0) return Largest(~0u);
  const unsigned h = static_cast<unsigned>(rows.start) + rows.begin * s.rows.dilation;
  const unsigned w = static_cast<unsigned>(columns.start) + columns.begin * s.columns.dilation;
  unsigned first = h * W + w;
  Largest largest(first);
  for (unsigned r = rows.begin; r < rows.end; ++r, first += s.rows.dilation * W) {
    unsigned index = first;
    for (unsigned j = columns.begin; j < columns.end; ++j, index += s.columns.dilation) {
      largest.take(x[index], index);
    }
  }
  return largest;
}

template <int kR, int kS>  // 0, 0: any
__global__ void __launch_bounds__(kPoolThreads)
    forward_kernel(float* y, int32_t* indices, const float* x, Pool s) {
  const unsigned number = blockIdx.x * kPoolThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const unsigned P = s.rows.outputs, Q = s.columns.outputs;
  const unsigned p = at.p * kPoolRun, q = static_cast<unsigned>(at.q);
  x += at.i * s.rows.input * s.columns.input;
  Largest largest[kPoolRun];  // all are loaded before the first is stored
#pragma unroll
  for (int i = 0; i < kPoolRun; ++i) {
    if constexpr (kR > 0) {
      largest[i] = largest_of<kR, kS>(x, s, p + i, q);
    } else if (p + i < P) {
      largest[i] = largest_of_any(x, s, p + i, q);
    }
  }
  int64_t to = (at.i * P + p) * Q + q;
#pragma unroll
  for (int i = 0; i < kPoolRun; ++i, to += Q) {
    if (p + i >= P) return;
    y[to] = largest[i].value;
    if (indices != nullptr) indices[to] = static_cast<int32_t>(largest[i].winner);
  }
}

template <int kStride, int kWindows>
__global__ void __launch_bounds__(kPoolThreads)
    backward_kernel(float* dx, const float* dy, const int32_t* indices, Pool s) {
  constexpr int kRows = kPoolRun + kWindows - 1;
  const unsigned number = blockIdx.x * kPoolThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const unsigned H = s.rows.input, W = s.columns.input;
  const unsigned P = s.rows.outputs, Q = s.columns.outputs;
  const unsigned cell_row = at.p * kPoolRun, cell_column = static_cast<unsigned>(at.q);

  // The first window's; below 0 is far above P, being unsigned.
  const unsigned p0 = cell_row - (kWindows - 1), q0 = cell_column - (kWindows - 1);
  const int64_t from = (at.i * P + static_cast<int>(p0)) * Q + static_cast<int>(q0);
  dy += from;
  indices += from;
  float gradients[kRows][kWindows];
  int winners[kRows][kWindows];
#pragma unroll
  for (int i = 0; i < kRows; ++i, dy += Q, indices += Q) {
#pragma unroll
    for (int j = 0; j < kWindows; ++j) {
      const bool here = p0 + i < P && q0 + j < Q;
      gradients[i][j] = here ? dy[j] : 0.0f;
      winners[i][j] = here ? indices[j] : -1;
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
      const int index = static_cast<int>((h0 + i) * W + w0 + j);
      sums[j] = 0;
#pragma unroll
      for (int k = i / kStride; k < i / kStride + kWindows; ++k) {
#pragma unroll
        for (int l = 0; l < kWindows; ++l) {
          if (winners[k][l] == index) sums[j] += gradients[k][l];
        }
      }
    }
    store_cell_row(row, sums, w0, W);
  }
}

// A thread for each element, and any window.
__global__ void __launch_bounds__(kPoolThreads)
    backward_any_kernel(float* dx, const float* dy, const int32_t* indices, Pool s,
                        PoolHolding holding_row, PoolHolding holding_column) {
  const unsigned number = blockIdx.x * kPoolThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const unsigned W = s.columns.input, Q = s.columns.outputs, w = static_cast<unsigned>(at.q);
  const PoolHolders rows = holding_row(at.p), columns = holding_column(w);
  const int index = static_cast<int>(at.p * W + w);
  const int64_t plane = at.i * s.rows.outputs * Q;
  double sum = 0;
  for (unsigned p = rows.begin; p < rows.end; ++p) {
    const int64_t row = plane + int64_t{p} * Q;
    for (unsigned q = columns.begin; q < columns.end; ++q) {
      if (indices[row + q] == index) sum += dy[row + q];
    }
  }
  dx[(at.i * s.rows.input + at.p) * W + w] = static_cast<float>(sum);
}

}  // namespace

void max_pool2d_forward(float* y, int32_t* indices, const float* x, const Pool2dShape& s) {
  const Op op = pool_op("max_pool2d_forward", s, indices != nullptr ? 2 : 1);
  const auto kernel = has_window(s, 2, 2)   ? forward_kernel<2, 2>
                      : has_window(s, 3, 3) ? forward_kernel<3, 3>
                                            : forward_kernel<0, 0>;
  const int64_t runs = (s.P + kPoolRun - 1) / kPoolRun;
  for_all_places(s.N * s.C, runs, s.Q, [&](const Places& places) {
    op.launch({blocks(places.count, kPoolThreads), kPoolThreads}, kernel, y, indices, x,
              Pool{pool_rows(s), pool_columns(s), places});
  });
}

bool max_pool2d_backward(float* dx, const float* dy, const int32_t* indices, const Pool2dShape& s) {
  const Op op = pool_op("max_pool2d_backward", s, 2);
  const auto gather = [&](auto kernel, int64_t rows, int64_t columns, auto... more) {
    for_all_places(s.N * s.C, rows, columns, [&](const Places& places) {
      op.launch({blocks(places.count, kPoolThreads), kPoolThreads}, kernel, dx, dy, indices,
                Pool{pool_rows(s), pool_columns(s), places}, more...);
    });
  };
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
  return true;
}

}  // namespace striate::cuda
