// y_i = f(x_i, ...) over flat runs of n: what waits for memory and nothing else.
//
// A block takes kMapBlock elements; each thread loads all its share before it stores, so that many
// loads are under way, and y may be one of the inputs. Accesses are 16 bytes wide where all arrays
// begin at such an address, else 4: views may begin anywhere.
#pragma once

#include <cuda_runtime.h>

#include "cuda/launch.h"

namespace striate::cuda {

constexpr int kMapThreads = 256, kMapVectors = 2;
constexpr int kMapBlock = kMapThreads * kMapVectors * 4;

/// Whether 16 bytes at once may be moved from and to all of these.
template <class... Pointers>
bool aligned(Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

template <class F, class... Vectors>
__device__ __forceinline__ float4 map4(const F& f, const Vectors&... v) {
  return make_float4(f(v.x...), f(v.y...), f(v.z...), f(v.w...));
}

template <bool kVector, class F, class... Inputs>
__global__ void __launch_bounds__(kMapThreads) map_kernel(float* y, int64_t n, F f, Inputs... x) {
  const int64_t first = int64_t{blockIdx.x} * kMapBlock;
  if (n - first < kMapBlock) {
    for (int64_t i = first + threadIdx.x; i < n; i += kMapThreads) y[i] = f(x[i]...);
  } else if constexpr (kVector) {
    const int64_t i = first / 4 + threadIdx.x;
    float4 results[kMapVectors];
#pragma unroll
    for (int v = 0; v < kMapVectors; ++v) {
      results[v] = map4(f, reinterpret_cast<const float4*>(x)[i + v * kMapThreads]...);
    }
#pragma unroll
    for (int v = 0; v < kMapVectors; ++v) {
      reinterpret_cast<float4*>(y)[i + v * kMapThreads] = results[v];
    }
  } else {
    const int64_t i = first + threadIdx.x;
    float results[kMapVectors * 4];
#pragma unroll
    for (int v = 0; v < kMapVectors * 4; ++v) results[v] = f(x[i + v * kMapThreads]...);
#pragma unroll
    for (int v = 0; v < kMapVectors * 4; ++v) y[i + v * kMapThreads] = results[v];
  }
}

/// `inputs`: const float*.
template <class F, class... Inputs>
void map(const Op& op, float* y, int64_t n, F f, Inputs... inputs) {
  if (n == 0) return;
  const Grid grid{blocks(n, kMapBlock), kMapThreads};
  if (aligned(y, inputs...)) {
    op.launch(grid, map_kernel<true, F, Inputs...>, y, n, f, inputs...);
  } else {
    op.launch(grid, map_kernel<false, F, Inputs...>, y, n, f, inputs...);
  }
}

}  // namespace striate::cuda
