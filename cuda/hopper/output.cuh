// What becomes of the sums of a product.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace striate::cuda::hopper {

/// C = alpha sum + beta C + bias, at least 0 if relu.
struct Output {
  float* C;
  int64_t ldc, split_stride;  // of C, and from the part of one split to the next one's
  int M, N;
  const float* bias;
  float alpha, beta;
  bool relu;
  bool pairs;  // columns 2 i and 2 i + 1 are stored at once

  /// each(change) calls change(sum, index in c, column) for each sum of a thread. One question for
  /// all of them at a time: one for each would be a hundred kilobytes of code.
  template <class Each>
  __device__ void apply(const float* c, const Each& each) const {
    each([&](float& sum, int64_t, int) { sum *= alpha; });
    if (beta != 0) each([&](float& sum, int64_t at, int) { sum += beta * c[at]; });
    if (bias != nullptr) each([&](float& sum, int64_t, int n) { sum += bias[n]; });
    if (relu) each([&](float& sum, int64_t, int) { sum = sum < 0 ? 0 : sum; });
  }
};

/// Writes to c what a thread holds of a tile; (m, n) is its first element, <hopper.cuh> says which
/// follow. A slice at a time: what is read of C for it has to fit into registers.
template <int kCount>
__device__ void write(const Output& out, float* c, float (&sum)[kCount], int m, int n) {
  constexpr int kSlice = 32;
#pragma unroll
  for (int slice = 0; slice < kCount; slice += kSlice) {
    const auto each = [&](auto visit) {
#pragma unroll
      for (int i = slice; i < slice + kSlice; ++i) {
        const int row = m + i / 2 % 2 * 8, column = n + i / 4 * 8 + i % 2;
        if (row < out.M && column < out.N) visit(sum[i], row * out.ldc + column, column);
      }
    };
    out.apply(c, each);
    if (!out.pairs) {
      each([&](float value, int64_t at, int) { c[at] = value; });
      continue;
    }
#pragma unroll
    for (int i = slice; i < slice + kSlice; i += 2) {
      const int row = m + i / 2 % 2 * 8, column = n + i / 4 * 8;
      if (row < out.M && column < out.N) {
        *reinterpret_cast<float2*>(c + row * out.ldc + column) = make_float2(sum[i], sum[i + 1]);
      }
    }
  }
}

}  // namespace striate::cuda::hopper
