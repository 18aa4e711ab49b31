// Rows of classes, as softmax and cross_entropy see (outer, classes, inner): which threads share a
// row, and what they find in it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <shared.cuh>

#include "cuda/launch.h"
#include "cuda/reduce.cuh"
#include "striate/softmax.h"

namespace striate::cuda {

constexpr int kRowThreads = 256;

/// Shared memory of a block whose rows are reduced.
struct RowShared {
  double partial[kRowThreads / kWarp];
};

/// How many threads share a row. Rows that lie side by side (inner > 1) take one each, so that
/// neighbours read neighbours, unless they are few and long.
inline int row_team(const SoftmaxSizes& s) {
  if (s.inner > 1) return s.inner < kWarp && s.classes >= kRowThreads ? kRowThreads : 1;
  return s.classes == 1 ? 1 : s.classes <= 1024 ? kWarp : kRowThreads;
}

/// body(std::integral_constant of row_team(s)): the launches with the team as a constant.
template <class Body>
void with_row_team(const SoftmaxSizes& s, const Body& body) {
  switch (row_team(s)) {
    case 1:
      return body(std::integral_constant<int, 1>{});
    case kWarp:
      return body(std::integral_constant<int, kWarp>{});
    default:
      return body(std::integral_constant<int, kRowThreads>{});
  }
}

/// combine over the kTeam threads of a row; all get the result.
template <int kTeam, class T, class Combine>
__device__ T team_reduce(T value, Combine combine) {
  if constexpr (kTeam == 1) return value;
  if constexpr (kTeam == kWarp) return warp_reduce(value, combine);
  if constexpr (kTeam == kRowThreads) {
    static_assert(sizeof(T) <= sizeof(double));
    T* const partial = reinterpret_cast<T*>(shared_memory<RowShared>().partial);
    return block_reduce<kRowThreads>(value, partial, combine);
  }
}

/// The sum of f(place of a class) over this thread's share of the row, then over its team: thread
/// `lane` takes the classes lane, lane + kTeam, ..., which lie `stride` apart.
template <int kTeam, class T, class F>
__device__ T row_sum(T zero, int64_t classes, int64_t stride, F f) {
  const int lane = threadIdx.x % kTeam;
  T sum = zero;
  for (int64_t c = lane; c < classes; c += kTeam) sum += f(c * stride);
  return team_reduce<kTeam>(sum, Sum{});
}

/// exp(x - max) adds up to sum. NaN where the row holds a NaN, +inf, or -inf only.
struct Peak {
  float max, sum;
};

template <int kTeam>
__device__ Peak row_peak(const float* x, int64_t classes, int64_t stride) {
  const int lane = threadIdx.x % kTeam;
  float max = -__builtin_huge_valf();
  for (int64_t c = lane; c < classes; c += kTeam) max = Max{}(x[c * stride], max);
  max = team_reduce<kTeam>(max, Max{});
  const float sum =
      row_sum<kTeam>(0.0f, classes, stride, [&](int64_t place) { return expf(x[place] - max); });
  return {max, sum};
}

inline Op row_op(const char* name, const SoftmaxSizes& s, int arrays) {
  return Op(name, {{"outer", s.outer}, {"classes", s.classes}, {"inner", s.inner}},
            {.bytes = 4.0 * arrays * s.outer * s.classes * s.inner});
}

}  // namespace striate::cuda
