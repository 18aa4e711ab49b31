// softmax and log_softmax (kLog). A row is read from memory once: what is read again comes from the
// cache. A row's bits depend on its values and the sizes only, not on its place among the rows.
#include <cuda_runtime.h>

#include <cmath>

#include "cuda/divide.cuh"
#include "cuda/launch.h"
#include "cuda/rows.cuh"
#include "striate/softmax.h"

namespace striate::cuda {
namespace {

struct Rows {
  int64_t classes, inner;
  Places places;
};

/// Where the row of this thread's team begins, or -1 behind the last.
template <int kTeam>
__device__ int64_t first_of(const Rows& rows) {
  const unsigned team = blockIdx.x * (kRowThreads / kTeam) + threadIdx.x / kTeam;
  if (team >= rows.places.count) return -1;
  const Place at = rows.places(team);
  return at.i * rows.classes * rows.inner + at.q;
}

template <bool kLog, int kTeam>
__global__ void __launch_bounds__(kRowThreads) forward_kernel(float* y, const float* x, Rows rows) {
  const int64_t first = first_of<kTeam>(rows);
  if (first < 0) return;
  x += first;
  y += first;
  const Peak peak = row_peak<kTeam>(x, rows.classes, rows.inner);
  const float scale = 1.0f / peak.sum, shift = kLog ? logf(peak.sum) : 0.0f;
  for (int64_t c = threadIdx.x % kTeam; c < rows.classes; c += kTeam) {
    const float v = x[c * rows.inner] - peak.max;
    y[c * rows.inner] = kLog ? v - shift : expf(v) * scale;
  }
}

template <bool kLog, int kTeam>
__global__ void __launch_bounds__(kRowThreads)
    backward_kernel(float* dx, const float* dy, const float* y, Rows rows) {
  const int64_t first = first_of<kTeam>(rows);
  if (first < 0) return;
  dx += first;
  dy += first;
  y += first;
  const float sum = row_sum<kTeam>(0.0f, rows.classes, rows.inner, [&](int64_t place) {
    return kLog ? dy[place] : dy[place] * y[place];
  });
  for (int64_t c = threadIdx.x % kTeam; c < rows.classes; c += kTeam) {
    const int64_t i = c * rows.inner;
    dx[i] = kLog ? fmaf(-expf(y[i]), sum, dy[i]) : y[i] * (dy[i] - sum);
  }
}

/// launch(team, grid, rows) with the team as a constant.
template <class Launch>
void for_all_rows(const SoftmaxSizes& s, const Launch& launch) {
  if (s.classes == 0) return;
  with_row_team(s, [&](auto team) {
    for_all_places(s.outer, 1, s.inner, [&](const Places& places) {
      const Grid grid{blocks(int64_t{places.count} * team, kRowThreads), kRowThreads,
                      team == kRowThreads ? sizeof(RowShared) : 0};
      launch(team, grid, Rows{s.classes, s.inner, places});
    });
  });
}

template <bool kLog>
void forward(const Op& op, float* y, const float* x, const SoftmaxSizes& s) {
  for_all_rows(s, [&](auto team, const Grid& grid, const Rows& rows) {
    op.launch(grid, forward_kernel<kLog, team>, y, x, rows);
  });
}

template <bool kLog>
void backward(const Op& op, float* dx, const float* dy, const float* y, const SoftmaxSizes& s) {
  for_all_rows(s, [&](auto team, const Grid& grid, const Rows& rows) {
    op.launch(grid, backward_kernel<kLog, team>, dx, dy, y, rows);
  });
}

}  // namespace

void softmax_forward(float* y, const float* x, const SoftmaxSizes& s) {
  forward<false>(row_op("softmax_forward", s, 2), y, x, s);
}

void softmax_backward(float* dx, const float* dy, const float* y, const SoftmaxSizes& s) {
  backward<false>(row_op("softmax_backward", s, 3), dx, dy, y, s);
}

void log_softmax_forward(float* y, const float* x, const SoftmaxSizes& s) {
  forward<true>(row_op("log_softmax_forward", s, 2), y, x, s);
}

void log_softmax_backward(float* dx, const float* dy, const float* y, const SoftmaxSizes& s) {
  backward<true>(row_op("log_softmax_backward", s, 3), dx, dy, y, s);
}

}  // namespace striate::cuda
