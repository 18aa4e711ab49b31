// adaptive_avg_pool2d: windows of one size are avg_pool2d's; others by a thread, a warp or a block
// each. Backward a thread gathers for each input element, in the order of p and q.
#include <cuda_runtime.h>

#include <shared.cuh>

#include "cuda/divide.cuh"
#include "cuda/elementwise.cuh"
#include "cuda/launch.h"
#include "cuda/pool2d.cuh"
#include "striate/adaptive_avg_pool2d.h"

namespace striate::cuda {
namespace {

struct Copy {
  __device__ float operator()(float x) const { return x; }
};

/// n / divisor in 32 bits where `most`, the largest n, allows it.
class DivideAny {
 public:
  DivideAny(int64_t divisor, int64_t most)
      : narrow_(divisor), divisor_(divisor), is_narrow_(most <= UINT32_MAX) {}
  __device__ int64_t operator()(int64_t n) const {
    return is_narrow_ ? narrow_(static_cast<unsigned>(n)) : n / divisor_;
  }

 private:
  Divide narrow_;
  int64_t divisor_;
  bool is_narrow_;
};

/// One axis, as adaptive_window cuts it.
struct Axis {
  int64_t input, outputs;
  DivideAny by_input, by_outputs;

  Axis(int64_t input, int64_t outputs)
      : input(input),
        outputs(outputs),
        by_input(input, (input + 1) * (outputs + 1)),
        by_outputs(outputs, (input + 1) * (outputs + 1)) {}

  __device__ AdaptiveWindow window(int64_t output) const {
    return {by_outputs(output * input), by_outputs((output + 1) * input + outputs - 1)};
  }
  /// The windows [begin, end) that hold an input position.
  __device__ AdaptiveWindow holders(int64_t position) const {
    return {by_input(position * outputs), by_input((position + 1) * outputs + input - 1)};
  }
};

struct Pool {
  Axis rows, columns;
  Places places;
};

__device__ int64_t length(const AdaptiveWindow& w) { return w.end - w.begin; }

__device__ float window_size(const AdaptiveWindow& rows, const AdaptiveWindow& columns) {
  return static_cast<float>(length(rows)) * static_cast<float>(length(columns));
}

template <int kThreads>  // that share a window
__global__ void __launch_bounds__(kPoolThreads) forward_kernel(float* y, const float* x, Pool s) {
  constexpr unsigned kTeams = kPoolThreads / kThreads;
  const unsigned team = blockIdx.x * kTeams + threadIdx.x / kThreads;
  if (team >= s.places.count) return;
  const Place at = s.places(team);
  const AdaptiveWindow rows = s.rows.window(at.p), columns = s.columns.window(at.q);
  x += (at.i * s.rows.input + rows.begin) * s.columns.input + columns.begin;
  const unsigned height = static_cast<unsigned>(length(rows));
  const unsigned width = static_cast<unsigned>(length(columns)), thread = threadIdx.x % kThreads;
  float sum;
  if constexpr (kThreads == 1) {
    sum = window_sum(x, s.columns.input, height, width);
  } else {
    double* const partial = kThreads > kWarp ? shared_memory<PoolShared>().partial : nullptr;
    sum = team_window_sum<kThreads>(x, s.columns.input, height, width, thread, partial);
  }
  if (thread == 0) {
    y[(at.i * s.rows.outputs + at.p) * s.columns.outputs + at.q] = sum / window_size(rows, columns);
  }
}

// Two blocks of a multiprocessor leave it registers.
__global__ void __launch_bounds__(kPoolThreads, 2)
    backward_kernel(float* dx, const float* dy, Pool s) {
  const unsigned number = blockIdx.x * kPoolThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const AdaptiveWindow rows = s.rows.holders(at.p), columns = s.columns.holders(at.q);
  double sum = 0;
  for (int64_t p = rows.begin; p < rows.end; ++p) {
    const float* const row = dy + (at.i * s.rows.outputs + p) * s.columns.outputs;
    const AdaptiveWindow window = s.rows.window(p);
    float part = 0;
    for (int64_t q = columns.begin; q < columns.end; ++q) {
      part += row[q] / window_size(window, s.columns.window(q));
    }
    sum += part;
  }
  dx[(at.i * s.rows.input + at.p) * s.columns.input + at.q] = static_cast<float>(sum);
}

bool is_identity(const AdaptiveAvgPool2dShape& s) { return s.P == s.H && s.Q == s.W; }

// Windows that touch, all of one size: an ordinary mean pool.
bool is_divided(const AdaptiveAvgPool2dShape& s) { return s.H % s.P == 0 && s.W % s.Q == 0; }

Pool2dShape divided(const AdaptiveAvgPool2dShape& s) {
  const int64_t R = s.H / s.P, S = s.W / s.Q;
  return {.N = s.N,
          .C = s.C,
          .H = s.H,
          .W = s.W,
          .R = R,
          .S = S,
          .P = s.P,
          .Q = s.Q,
          .stride_h = R,
          .stride_w = S};
}

constexpr Pool2dDivisor kWindowSize = {.count_include_pad = false, .divisor_override = 0};

Op adaptive_op(const char* name, const AdaptiveAvgPool2dShape& s) {
  return Op(name, {{"N", s.N}, {"C", s.C}, {"H", s.H}, {"W", s.W}, {"P", s.P}, {"Q", s.Q}},
            {.bytes = 4.0 * s.N * s.C * (s.H * s.W + s.P * s.Q)});
}

}  // namespace

void adaptive_avg_pool2d_forward(float* y, const float* x, const AdaptiveAvgPool2dShape& s) {
  const Op op = adaptive_op("adaptive_avg_pool2d_forward", s);
  if (is_identity(s)) return map(op, y, s.N * s.C * s.H * s.W, Copy{}, x);
  if (is_divided(s)) return avg_pool2d_forward(y, x, divided(s), kWindowSize);
  const int64_t R = (s.H + s.P - 1) / s.P, S = (s.W + s.Q - 1) / s.Q;
  const int team = window_team(R, S, S, s.Q);
  const auto kernel = team == kPoolThreads ? forward_kernel<kPoolThreads>
                      : team == kWarp      ? forward_kernel<kWarp>
                                           : forward_kernel<1>;
  for_all_places(s.N * s.C, s.P, s.Q, [&](const Places& places) {
    op.launch({blocks(int64_t{places.count} * team, kPoolThreads), kPoolThreads,
               team == kPoolThreads ? sizeof(PoolShared) : 0},
              kernel, y, x, Pool{Axis(s.H, s.P), Axis(s.W, s.Q), places});
  });
}

void adaptive_avg_pool2d_backward(float* dx, const float* dy, const AdaptiveAvgPool2dShape& s) {
  const Op op = adaptive_op("adaptive_avg_pool2d_backward", s);
  if (is_identity(s)) return map(op, dx, s.N * s.C * s.H * s.W, Copy{}, dy);
  if (is_divided(s)) return avg_pool2d_backward(dx, dy, divided(s), kWindowSize);
  for_all_places(s.N * s.C, s.H, s.W, [&](const Places& places) {
    op.launch({blocks(places.count, kPoolThreads), kPoolThreads}, backward_kernel, dx, dy,
              Pool{Axis(s.H, s.P), Axis(s.W, s.Q), places});
  });
}

}  // namespace striate::cuda
