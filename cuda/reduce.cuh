// Sums and maxima over a warp and a block, in an order that the shape alone decides.
#pragma once

#include <cuda_runtime.h>

namespace striate::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

/// A NaN wins.
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};

/// combine over the 32 lanes; every lane gets the same bits.
template <class T, class Combine>
__device__ T warp_reduce(T value, Combine combine) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

/// combine over a block of kThreads, whole warps, one-dimensional; every thread gets the result.
/// `partial`: shared memory for kThreads / 32 values; it may be used again at once.
template <int kThreads, class T, class Combine>
__device__ T block_reduce(T value, T* partial, Combine combine) {
  constexpr int kWarps = kThreads / kWarp;
  static_assert(kWarps * kWarp == kThreads && kWarps <= kWarp);
  value = warp_reduce(value, combine);
  if constexpr (kWarps == 1) return value;
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  T total = partial[0];
  for (int i = 1; i < kWarps; ++i) total = combine(total, partial[i]);
  __syncthreads();
  return total;
}

}  // namespace striate::cuda
