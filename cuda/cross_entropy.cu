// cross_entropy: forward and backward read the logits once each and keep nothing in between.
//
// The total is summed in double and in one order: each block adds up the rows that the sizes give
// it, and one block adds up the blocks. The mean's count is made on the device, too: nothing waits.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <shared.cuh>

#include "cuda/launch.h"
#include "cuda/rows.cuh"
#include "striate/cross_entropy.h"

namespace striate::cuda {
namespace {

using Problem = CrossEntropy<float>;

constexpr int kThreads = kRowThreads;
constexpr int64_t kMostBlocks = 2048;      // that walk over the rows
constexpr int64_t kMostCounts = kThreads;  // blocks that count: one thread each adds them up

/// What the positions ask for.
struct Targets {
  const int64_t* labels;
  const float* probabilities;
  const float* weight;
  int64_t rows, classes, inner, ignore_index;
  float keep, spread;
  bool one_class;  // labels without smoothing

  __device__ float weight_of(int64_t c) const { return weight != nullptr ? weight[c] : 1.0f; }
  __device__ bool ignored(int64_t row) const {
    return labels != nullptr && labels[row] == ignore_index;
  }
  __device__ bool bad(int64_t row) const {
    return labels != nullptr && !ignored(row) && (labels[row] < 0 || labels[row] >= classes);
  }
  /// Where the row's first class stands.
  __device__ int64_t first(int64_t row) const {
    if (inner == 1) return row * classes;
    const int64_t o = row / inner;
    return o * classes * inner + (row - o * inner);
  }
  /// r_c of the contract, such that l = -sum_c r_c log p_c; `place` is the class's.
  __device__ float share(int64_t row, int64_t c, int64_t place) const {
    const float q = labels != nullptr ? (labels[row] == c ? 1.0f : 0.0f) : probabilities[place];
    return fmaf(keep, q, spread) * weight_of(c);
  }
  /// What the row adds to the mean's divisor. A bad label's loss is NaN anyhow.
  __device__ double count(int64_t row) const {
    if (ignored(row) || bad(row)) return 0;
    return labels != nullptr ? weight_of(labels[row]) : 1.0f;
  }
};

Targets targets_of(const Problem& p) {
  const SoftmaxSizes& s = p.sizes;
  return {p.labels,
          p.probabilities,
          p.weight,
          s.outer * s.inner,
          s.classes,
          s.inner,
          p.ignore_index,
          static_cast<float>(1 - p.label_smoothing),
          static_cast<float>(p.label_smoothing / s.classes),
          p.labels != nullptr && p.label_smoothing == 0};
}

/// The loss of one row; all threads of its team get it.
template <int kTeam>
__device__ double loss_of(const Targets& t, int64_t row, const float* x) {
  if (t.ignored(row)) return 0;
  if (t.bad(row)) return __builtin_nan("");
  const int64_t first = t.first(row);
  const Peak peak = row_peak<kTeam>(x + first, t.classes, t.inner);
  const float shift = logf(peak.sum);
  if (t.one_class) {  // -inf elsewhere in the row does not matter
    const int64_t label = t.labels[row];
    return -double{t.weight_of(label)} * (x[first + label * t.inner] - peak.max - shift);
  }
  double sum = 0;
  for (int64_t c = threadIdx.x % kTeam; c < t.classes; c += kTeam) {
    const int64_t place = first + c * t.inner;
    sum -= double{t.share(row, c, place)} * (x[place] - peak.max - shift);
  }
  return team_reduce<kTeam>(sum, Sum{});
}

struct Partial {
  double loss, count;
};

/// Teams take the rows in turns; a block's sums go to its own partial. (Two blocks of a
/// multiprocessor leave it registers.)
template <int kTeam>
__global__ void __launch_bounds__(kThreads, 2)
    forward_kernel(float* losses, Partial* partials, const float* x, Targets t) {
  constexpr int64_t kTeams = kThreads / kTeam;
  const bool leads = threadIdx.x % kTeam == 0;
  double sum = 0, count = 0;  // of the leading threads
  for (int64_t row = blockIdx.x * kTeams + threadIdx.x / kTeam; row < t.rows;
       row += gridDim.x * kTeams) {
    const double loss = loss_of<kTeam>(t, row, x);
    if (!leads) continue;
    if (losses != nullptr) losses[row] = static_cast<float>(loss);
    sum += loss;
    count += t.count(row);
  }
  sum = team_reduce<kThreads>(sum, Sum{});
  count = team_reduce<kThreads>(count, Sum{});
  if (threadIdx.x == 0) partials[blockIdx.x] = {sum, count};
}

__global__ void __launch_bounds__(kThreads)
    total_kernel(double* total, const Partial* partials, int64_t n, bool mean) {
  double sum = 0, count = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    sum += partials[i].loss;
    count += partials[i].count;
  }
  sum = team_reduce<kThreads>(sum, Sum{});
  count = team_reduce<kThreads>(count, Sum{});
  if (threadIdx.x == 0) *total = mean ? sum / count : sum;
}

__global__ void __launch_bounds__(kThreads) count_kernel(double* counts, Targets t) {
  double count = 0;
  for (int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x; row < t.rows;
       row += int64_t{gridDim.x} * kThreads) {
    count += t.count(row);
  }
  count = team_reduce<kThreads>(count, Sum{});
  if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

/// The gradient of one row, whose loss has the gradient g.
template <int kTeam>
__device__ void gradient_of(float* dx, float g, const float* x, const Targets& t, int64_t row) {
  const int64_t first = t.first(row), step = kTeam * t.inner, end = first + t.classes * t.inner;
  int64_t c = threadIdx.x % kTeam, place = first + c * t.inner;
  if (t.ignored(row) || t.bad(row)) {  // 0 whatever the logits
    const float d = t.ignored(row) ? 0.0f : __builtin_nanf("");
    for (; place < end; place += step) dx[place] = d;
    return;
  }
  const Peak peak = row_peak<kTeam>(x + first, t.classes, t.inner);
  const float inverse = 1.0f / peak.sum;
  if (t.one_class) {
    const int64_t label = t.labels[row];
    const float scale = g * t.weight_of(label);
    for (; place < end; place += step, c += kTeam) {
      dx[place] = scale * (expf(x[place] - peak.max) * inverse - (c == label ? 1.0f : 0.0f));
    }
    return;
  }
  const float shares = static_cast<float>(row_sum<kTeam>(  // sum_c r_c
      0.0, t.classes, 1, [&](int64_t k) { return t.share(row, k, first + k * t.inner); }));
  for (; place < end; place += step, c += kTeam) {
    const float p = expf(x[place] - peak.max) * inverse;
    dx[place] = g * (shares * p - t.share(row, c, place));
  }
}

/// g is dy, or g_total; divided by the sum of the `n` counts where there are any.
template <int kTeam>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(float* dx, const float* dy, double g_total, const double* counts, unsigned n,
                    const float* x, Targets t) {
  constexpr int64_t kTeams = kThreads / kTeam;
  if (counts != nullptr) {
    g_total /= team_reduce<kThreads>(threadIdx.x < n ? counts[threadIdx.x] : 0.0, Sum{});
  }
  for (int64_t row = blockIdx.x * kTeams + threadIdx.x / kTeam; row < t.rows;
       row += gridDim.x * kTeams) {
    const float g = dy != nullptr ? dy[row] : static_cast<float>(g_total);
    gradient_of<kTeam>(dx, g, x, t, row);
  }
}

/// The smaller of two places, of which -1 is none.
struct Earlier {
  __device__ int64_t operator()(int64_t a, int64_t b) const {
    return static_cast<uint64_t>(a) < static_cast<uint64_t>(b) ? a : b;
  }
};

/// Of the rows where `t` has labels; of the places that the blocks have found otherwise.
__global__ void __launch_bounds__(kThreads, 2) find_bad_label_kernel(int64_t* places, Targets t) {
  int64_t place = -1;
  for (int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x; row < t.rows;
       row += int64_t{gridDim.x} * kThreads) {
    if (t.bad(row)) place = Earlier{}(row, place);
  }
  place = team_reduce<kThreads>(place, Earlier{});
  if (threadIdx.x == 0) places[blockIdx.x] = place;
}

__global__ void __launch_bounds__(kThreads)
    earliest_kernel(int64_t* place, const int64_t* places, unsigned n) {
  const int64_t mine = threadIdx.x < n ? places[threadIdx.x] : -1;
  const int64_t earliest = team_reduce<kThreads>(mine, Earlier{});
  if (threadIdx.x == 0) *place = earliest;
}

Grid grid_of(int64_t blocks) {
  return {static_cast<unsigned>(blocks), kThreads, sizeof(RowShared)};
}

int64_t row_blocks(const Targets& t, int team) {
  return std::min<int64_t>(kMostBlocks, blocks(t.rows, kThreads / team));
}

/// Blocks that read nothing but labels.
int64_t label_blocks(const Targets& t) {
  return std::min<int64_t>(kMostCounts, blocks(t.rows, 8 * kThreads));
}

}  // namespace

void cross_entropy_forward(float* losses, double* total, const float* x, const Problem& p) {
  const Op op = row_op("cross_entropy_forward", p.sizes, 1);
  const Targets targets = targets_of(p);
  const int64_t n = row_blocks(targets, row_team(p.sizes));
  const Scratch scratch(n * static_cast<int64_t>(sizeof(Partial) / sizeof(float)));
  Partial* const partials = scratch.as<Partial>();
  with_row_team(p.sizes, [&](auto team) {
    op.launch(grid_of(n), forward_kernel<team>, losses, partials, x, targets);
  });
  op.launch(grid_of(1), total_kernel, total, partials, n, p.mean);
}

void cross_entropy_backward(float* dx, const float* dy, double dy_total, const float* x,
                            const Problem& p) {
  const Op op = row_op("cross_entropy_backward", p.sizes, 2);
  const Targets targets = targets_of(p);
  if (targets.rows == 0 || targets.classes == 0) return;

  const bool divides = p.mean && dy == nullptr, counts_labels = divides && p.labels != nullptr;
  const int64_t n = label_blocks(targets);
  const Scratch scratch(2 * n);
  double* const counts = counts_labels ? scratch.as<double>() : nullptr;
  if (counts_labels) op.launch(grid_of(n), count_kernel, counts, targets);
  const double g_total = divides && !counts_labels ? dy_total / targets.rows : dy_total;
  with_row_team(p.sizes, [&](auto team) {
    op.launch(grid_of(row_blocks(targets, team)), backward_kernel<team>, dx, dy, g_total, counts, n,
              x, targets);
  });
}

void cross_entropy_find_bad_label(int64_t* place, const Problem& p) {
  const Op op("cross_entropy_find_bad_label", {{"rows", p.sizes.outer * p.sizes.inner}},
              {.bytes = 8.0 * p.sizes.outer * p.sizes.inner});
  const Targets targets = targets_of(p);
  const int64_t n = label_blocks(targets);
  const Scratch scratch(2 * n);
  op.launch(grid_of(n), find_bad_label_kernel, scratch.as<int64_t>(), targets);
  op.launch(grid_of(1), earliest_kernel, place, scratch.as<int64_t>(), n);
}

}  // namespace striate::cuda
