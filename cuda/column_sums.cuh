// Sums over the rows of a matrix, which make the gradients of biases. In double and in a fixed order,
// so that long sums keep their digits.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <shared.cuh>

#include "cuda/launch.h"

namespace striate::cuda {

constexpr int kSumThreads = 32;  // along columns, and as many along rows

/// to[slice, column] = sum over the slice's rows of from[row, column].
template <class To, class From>
__global__ void column_sums_kernel(To* to, const From* from, int64_t rows, int64_t columns,
                                   int64_t slice_rows) {
  struct Shared {
    double sums[kSumThreads][kSumThreads];
  };
  auto& shared = shared_memory<Shared>();
  const int64_t column = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  const int64_t begin = blockIdx.y * slice_rows, end = min(rows, begin + slice_rows);
  double sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (int64_t row = begin + threadIdx.y; row < end; row += kSumThreads) {
      sum += from[row * columns + column];
    }
  }
  shared.sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  for (int part = 1; part < kSumThreads; ++part) sum += shared.sums[part][threadIdx.x];
  to[blockIdx.y * columns + column] = static_cast<To>(sum);
}

/// to[column] = sum of from[rows, columns]; many rows in two passes. `columns` is not 0.
template <class From>
void column_sums(const Op& op, float* to, const From* from, int64_t rows, int64_t columns) {
  constexpr int64_t kMostRows = 1024, kMostSlices = 65535;  // in the y of a grid
  const int64_t slices = std::clamp<int64_t>((rows + kMostRows - 1) / kMostRows, 1, kMostSlices);
  const unsigned across = blocks(columns, kSumThreads);
  const std::size_t shared = kSumThreads * kSumThreads * sizeof(double);
  const auto launch = [&](unsigned y, auto kernel, auto* sums, const auto* of, int64_t count,
                          int64_t each) {
    op.launch({{across, y}, {kSumThreads, kSumThreads}, shared}, kernel, sums, of, count, columns,
              each);
  };
  if (slices == 1) {
    return launch(1, column_sums_kernel<float, From>, to, from, rows, rows);
  }
  const Scratch scratch(2 * slices * columns);
  double* const partials = scratch.as<double>();
  const auto high = static_cast<unsigned>(slices);
  launch(high, column_sums_kernel<double, From>, partials, from, rows,
         (rows + slices - 1) / slices);
  launch(1, column_sums_kernel<float, double>, to, static_cast<const double*>(partials), slices,
         slices);
}

}  // namespace striate::cuda
