// local_response_norm: threads run along L, which memory does, too.
//
// For AlexNet's window and beta a thread takes kChunk channels at one place: it loads them and
// their neighbours at once, so that many loads are under way, and its windows then lie in
// registers. (A running sum along the channels would save additions and lose digits.) Others take a
// thread for each element, and backward two passes.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>

#include "cuda/divide.cuh"
#include "cuda/launch.h"
#include "striate/local_response_norm.h"

namespace striate::cuda {
namespace {

constexpr int kThreads = 256, kChunk = 16;

struct Norm {
  int C;
  int64_t L;
  int down, up;  // channels of the window below and above its own
  float k, beta;
  float energy;  // alpha / size
  float slope;   // 2 alpha beta / size
  Places places;
};

// d^-0.75, given r = d^-0.5: two roots, where any other power takes a logarithm and an exponential.
__device__ float three_quarters(float r) { return r * sqrtf(r); }

__device__ float power(float d, const Norm& s) {
  return s.beta == 0.75f ? three_quarters(rsqrtf(d)) : powf(d, -s.beta);
}

__device__ bool inside(const Norm& s, int c) {
  return static_cast<unsigned>(c) < static_cast<unsigned>(s.C);
}

/// values[j] = the channel `first` + j, or 0 outside.
template <int kCount>
__device__ void load(float (&values)[kCount], const float* x, int first, const Norm& s) {
  x += first * s.L;
#pragma unroll
  for (int j = 0; j < kCount; ++j, x += s.L) values[j] = inside(s, first + j) ? *x : 0.0f;
}

template <int kSize, int kCount>
__device__ float window_sum(const float (&values)[kCount], int first) {
  float sum = values[first];
#pragma unroll
  for (int j = 1; j < kSize; ++j) sum += values[first + j];
  return sum;
}

template <int kSize>
__global__ void __launch_bounds__(kThreads) forward_chunk_kernel(float* y, const float* x, Norm s) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const int c = static_cast<int>(at.p) * kChunk;
  const int64_t image = at.i * s.C * s.L + at.q;

  float v[kChunk + kSize - 1], squares[kChunk + kSize - 1];
  load(v, x + image, c - kSize / 2, s);
#pragma unroll
  for (int j = 0; j < kChunk + kSize - 1; ++j) squares[j] = v[j] * v[j];
  y += image + c * s.L;
#pragma unroll
  for (int j = 0; j < kChunk; ++j, y += s.L) {
    const float d = fmaf(s.energy, window_sum<kSize>(squares, j), s.k);
    if (c + j < s.C) *y = v[j + kSize / 2] * three_quarters(rsqrtf(d));
  }
}

template <int kSize>
__global__ void __launch_bounds__(kThreads)
    backward_chunk_kernel(float* dx, const float* dy, const float* x, Norm s) {
  static_assert(kSize % 2 == 1);
  constexpr int kReach = kSize / 2;
  constexpr int kBases = kChunk + 2 * kReach, kEnergies = kBases + 2 * kReach;
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const int c = static_cast<int>(at.p) * kChunk;
  const int64_t image = at.i * s.C * s.L + at.q;

  float v[kEnergies], g[kBases], squares[kEnergies], powers[kBases], ratios[kBases];
  load(v, x + image, c - 2 * kReach, s);
  load(g, dy + image, c - kReach, s);
#pragma unroll
  for (int j = 0; j < kEnergies; ++j) squares[j] = v[j] * v[j];
#pragma unroll
  for (int j = 0; j < kBases; ++j) {
    const float d = fmaf(s.energy, window_sum<kSize>(squares, j), s.k);
    const float r = rsqrtf(d);
    powers[j] = three_quarters(r);
    ratios[j] = inside(s, c - kReach + j) ? g[j] * v[j + kReach] * powers[j] * (r * r) : 0.0f;
  }
  dx += image + c * s.L;
#pragma unroll
  for (int j = 0; j < kChunk; ++j, dx += s.L) {
    const float sum = window_sum<kSize>(ratios, j) * s.slope;
    if (c + j < s.C) *dx = g[j + kReach] * powers[j + kReach] - v[j + 2 * kReach] * sum;
  }
}

// --- any size ------------------------------------------------------------------------------------

/// The sum of f(element) over the channels c - down to c + up; x is at channel c.
template <class F>
__device__ float sum_over(const float* x, int c, int down, int up, const Norm& s, F f) {
  const int first = c < down ? -c : -down, last = s.C - 1 - c < up ? s.C - 1 - c : up;
  x += first * s.L;
  float sum = 0;
  for (int j = first; j <= last; ++j, x += s.L) sum += f(*x);
  return sum;
}

__device__ float base(const float* x, int c, const Norm& s) {
  const float sum = sum_over(x, c, s.down, s.up, s, [](float v) { return v * v; });
  return fmaf(s.energy, sum, s.k);
}

__global__ void __launch_bounds__(kThreads) forward_any_kernel(float* y, const float* x, Norm s) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const int64_t i = (at.i * s.C + at.p) * s.L + at.q;
  y[i] = x[i] * power(base(x + i, static_cast<int>(at.p), s), s);
}

/// dx = dy * d^-beta, and the terms that backward_any_kernel will sum.
__global__ void __launch_bounds__(kThreads)
    ratios_kernel(float* dx, float* ratios, const float* dy, const float* x, Norm s) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const int64_t i = (at.i * s.C + at.p) * s.L + at.q;
  const float d = base(x + i, static_cast<int>(at.p), s), scale = power(d, s);
  dx[i] = dy[i] * scale;
  ratios[i] = dy[i] * x[i] * scale / d;
}

__global__ void __launch_bounds__(kThreads)
    backward_any_kernel(float* dx, const float* ratios, const float* x, Norm s) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= s.places.count) return;
  const Place at = s.places(number);
  const int64_t i = (at.i * s.C + at.p) * s.L + at.q;
  const float sum =
      sum_over(ratios + i, static_cast<int>(at.p), s.up, s.down, s, [](float v) { return v; });
  dx[i] = dx[i] - x[i] * (sum * s.slope);
}

bool has_chunks(const LocalResponseNorm& s) { return s.size == 5 && s.beta == 0.75; }

/// launch(grid, norm) for all threads: `rows` of them for each place of an image.
template <class Launch>
void for_all(const LocalResponseNorm& s, int64_t rows, const Launch& launch) {
  const auto beyond = [&](int64_t channels) { return static_cast<int>(std::min(channels, s.C)); };
  for_all_places(s.N, rows, s.L, [&](const Places& places) {
    const Norm norm = {static_cast<int>(s.C),
                       s.L,
                       beyond(s.size / 2),
                       beyond((s.size - 1) / 2),
                       static_cast<float>(s.k),
                       static_cast<float>(s.beta),
                       static_cast<float>(s.alpha / s.size),
                       static_cast<float>(2 * s.alpha * s.beta / s.size),
                       places};
    launch(Grid{blocks(places.count, kThreads), kThreads}, norm);
  });
}

Op norm_op(const char* name, const LocalResponseNorm& s, int arrays) {
  return Op(name, {{"N", s.N}, {"C", s.C}, {"L", s.L}, {"size", s.size}},
            {.bytes = 4.0 * arrays * s.N * s.C * s.L});
}

}  // namespace

void local_response_norm_forward(float* y, const float* x, const LocalResponseNorm& s) {
  const Op op = norm_op("local_response_norm_forward", s, 2);
  if (has_chunks(s)) {
    for_all(s, (s.C + kChunk - 1) / kChunk, [&](const Grid& grid, const Norm& norm) {
      op.launch(grid, forward_chunk_kernel<5>, y, x, norm);
    });
  } else {
    for_all(s, s.C, [&](const Grid& grid, const Norm& norm) {
      op.launch(grid, forward_any_kernel, y, x, norm);
    });
  }
}

void local_response_norm_backward(float* dx, const float* dy, const float* x,
                                  const LocalResponseNorm& s) {
  const Op op = norm_op("local_response_norm_backward", s, 3);
  if (has_chunks(s)) {
    for_all(s, (s.C + kChunk - 1) / kChunk, [&](const Grid& grid, const Norm& norm) {
      op.launch(grid, backward_chunk_kernel<5>, dx, dy, x, norm);
    });
    return;
  }
  const Scratch ratios(s.N * s.C * s.L);
  for_all(s, s.C, [&](const Grid& grid, const Norm& norm) {
    op.launch(grid, ratios_kernel, dx, ratios.get(), dy, x, norm);
  });
  for_all(s, s.C, [&](const Grid& grid, const Norm& norm) {
    op.launch(grid, backward_any_kernel, dx, ratios.get(), x, norm);
  });
}

}  // namespace striate::cuda
