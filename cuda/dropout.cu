// dropout: four consecutive elements of the whole batch share a counter of Philox, so a thread
// draws once for four. The first and the last four of a part may be cut.
#include <cuda_runtime.h>

#include <cmath>

#include "cuda/elementwise.cuh"
#include "cuda/launch.h"
#include "striate/dropout.h"

namespace striate::cuda {
namespace {

constexpr int kThreads = 256, kGroups = 2;  // groups of four, for each thread
constexpr int kBlockGroups = kThreads * kGroups;

struct Mask {
  uint32_t seed[2], call, step;
  uint32_t threshold;
  float scale;

  __device__ float keep(uint32_t word, float x) const {
    return word >= threshold ? x * scale : 0.0f;
  }
};

__device__ uint4 philox4x32_10(uint32_t counter, const Mask& mask) {
  uint32_t a = counter, b = mask.call, c = mask.step, d = 0;
  uint32_t k0 = mask.seed[0], k1 = mask.seed[1];
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = __umulhi(0xD2511F53u, a), high1 = __umulhi(0xCD9E8D57u, c);
    const uint32_t low0 = 0xD2511F53u * a, low1 = 0xCD9E8D57u * c;
    a = high1 ^ b ^ k0;
    b = low1;
    c = high0 ^ d ^ k1;
    d = low0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return make_uint4(a, b, c, d);
}

/// Group g holds the elements 4 g - shift to 4 g - shift + 3 of x and y, and has counter first + g.
template <bool kVector>
__global__ void __launch_bounds__(kThreads)
    dropout_kernel(float* y, const float* x, int64_t n, int shift, uint32_t first, Mask mask,
                   const uint32_t* step) {
  if (step != nullptr) mask.step = *step;
  const int64_t begin = int64_t{blockIdx.x} * kBlockGroups + threadIdx.x;
  float4 v[kGroups];  // all are loaded before the first is stored
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const int64_t i = 4 * (begin + g * kThreads) - shift;
    v[g] = make_float4(0, 0, 0, 0);
    if (kVector && i >= 0 && i + 4 <= n) {
      v[g] = *reinterpret_cast<const float4*>(x + i);
    } else {
      if (i >= 0 && i < n) v[g].x = x[i];
      if (i + 1 >= 0 && i + 1 < n) v[g].y = x[i + 1];
      if (i + 2 >= 0 && i + 2 < n) v[g].z = x[i + 2];
      if (i + 3 < n) v[g].w = x[i + 3];
    }
  }
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const int64_t group = begin + g * kThreads, i = 4 * group - shift;
    const uint4 words = philox4x32_10(first + static_cast<uint32_t>(group), mask);
    const float4 kept = make_float4(mask.keep(words.x, v[g].x), mask.keep(words.y, v[g].y),
                                    mask.keep(words.z, v[g].z), mask.keep(words.w, v[g].w));
    if (kVector && i >= 0 && i + 4 <= n) {
      *reinterpret_cast<float4*>(y + i) = kept;
    } else {
      if (i >= 0 && i < n) y[i] = kept.x;
      if (i + 1 >= 0 && i + 1 < n) y[i + 1] = kept.y;
      if (i + 2 >= 0 && i + 2 < n) y[i + 2] = kept.z;
      if (i + 3 < n) y[i + 3] = kept.w;
    }
  }
}

}  // namespace

void dropout(float* y, const float* x, int64_t n, double p, const DropoutKey& key, int64_t offset) {
  dropout(y, x, n, p, key, offset, nullptr);
}

void dropout(float* y, const float* x, int64_t n, double p, const DropoutKey& key, int64_t offset,
             const uint32_t* step) {
  const Op op("dropout", {{"n", n}}, {.bytes = 8.0 * n});
  if (n == 0) return;
  if (p == 1) return op.clear(y, static_cast<std::size_t>(n) * sizeof(float));
  const Mask mask = {{static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)},
                     key.call,
                     key.step,
                     static_cast<uint32_t>(p * 4294967296.0),
                     static_cast<float>(1 / (1 - p))};
  const int shift = static_cast<int>(offset % 4);
  const Grid grid{blocks((n + shift + 3) / 4, kBlockGroups), kThreads};
  const auto kernel = aligned(x - shift, y - shift) ? dropout_kernel<true> : dropout_kernel<false>;
  op.launch(grid, kernel, y, x, n, shift, static_cast<uint32_t>(offset / 4), mask, step);
}

}  // namespace striate::cuda
