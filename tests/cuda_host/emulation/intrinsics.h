// The builtin functions: barriers, warp functions, atomics, bits, and arithmetic.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "execution.h"

// ---- barriers -----------------------------------------------------------------------------------

inline void __syncthreads(striate::cuda_host::Where where = striate::cuda_host::Where::current()) {
  striate::cuda_host::meet_block("__syncthreads", where);
}

inline void __syncwarp(unsigned mask = ~0u,
                       striate::cuda_host::Where where = striate::cuda_host::Where::current()) {
  striate::cuda_host::meet_warp(mask, "__syncwarp", nullptr, nullptr, where);
}

// Fibres are not preempted, so that memory is in order.
inline void __threadfence_block() {}
inline void __threadfence() {}

// ---- warp functions -----------------------------------------------------------------------------

namespace striate::cuda_host {

template <class T>
struct Shuffle {
  T value;
  unsigned source;
};

// The value of a lane outside the mask is undefined: a NaN, that somebody may notice.
template <class T>
T shuffle(const char* name, unsigned mask, T value, unsigned source, Where where) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  Shuffle<T> mine{value, source};
  const auto combine = [](unsigned mask, Lanes<Shuffle<T>> lanes) {
    T values[warpSize];
    std::memset(values, 0xFF, sizeof values);
    for (unsigned left = mask; left != 0; left &= left - 1) {
      const int i = std::countr_zero(left);
      values[i] = lanes[i].value;
    }
    for (unsigned left = mask; left != 0; left &= left - 1) {
      Shuffle<T>& lane = lanes[std::countr_zero(left)];
      lane.value = values[lane.source];
    }
  };
  warp_collective(name, mask, mine, combine, where);
  return mine.value;
}

/// `to` where it is in this lane's segment of `width` lanes, else this lane itself.
inline unsigned within(unsigned self, int to, int width) {
  const int first = static_cast<int>(self) & -width;
  return to >= first && to < first + width ? static_cast<unsigned>(to) : self;
}

inline unsigned ballot(const char* name, unsigned mask, bool predicate, Where where) {
  unsigned mine = predicate;
  const auto combine = [](unsigned mask, Lanes<unsigned> lanes) {
    unsigned all = 0;
    for (unsigned i = 0; i < warpSize; ++i) {
      if (mask >> i & 1) all |= lanes[i] << i;
    }
    for (unsigned i = 0; i < warpSize; ++i) {
      if (mask >> i & 1) lanes[i] = all;
    }
  };
  warp_collective(name, mask, mine, combine, where);
  return mine;
}

}  // namespace striate::cuda_host

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize,
              striate::cuda_host::Where where = striate::cuda_host::Where::current()) {
  const unsigned first = striate::cuda_host::lane() & static_cast<unsigned>(-width);
  const unsigned from = first + (static_cast<unsigned>(source) & static_cast<unsigned>(width - 1));
  return striate::cuda_host::shuffle("__shfl_sync", mask, value, from, where);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize,
                  striate::cuda_host::Where where = striate::cuda_host::Where::current()) {
  // The GPU lets a lane read from the segments before its own, not from those after it.
  const unsigned self = striate::cuda_host::lane();
  const unsigned to = self ^ static_cast<unsigned>(lane_mask);
  const unsigned last = (self & static_cast<unsigned>(-width)) + static_cast<unsigned>(width) - 1;
  return striate::cuda_host::shuffle("__shfl_xor_sync", mask, value, to <= last ? to : self, where);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                 striate::cuda_host::Where where = striate::cuda_host::Where::current()) {
  const unsigned self = striate::cuda_host::lane();
  const int to = static_cast<int>(self) - static_cast<int>(delta);
  return striate::cuda_host::shuffle("__shfl_up_sync", mask, value,
                                     striate::cuda_host::within(self, to, width), where);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                   striate::cuda_host::Where where = striate::cuda_host::Where::current()) {
  const unsigned self = striate::cuda_host::lane();
  const int to = static_cast<int>(self + delta);
  return striate::cuda_host::shuffle("__shfl_down_sync", mask, value,
                                     striate::cuda_host::within(self, to, width), where);
}

inline unsigned __ballot_sync(
    unsigned mask, int predicate,
    striate::cuda_host::Where where = striate::cuda_host::Where::current()) {
  return striate::cuda_host::ballot("__ballot_sync", mask, predicate != 0, where);
}

inline int __any_sync(unsigned mask, int predicate,
                      striate::cuda_host::Where where = striate::cuda_host::Where::current()) {
  return striate::cuda_host::ballot("__any_sync", mask, predicate != 0, where) != 0;
}

inline int __all_sync(unsigned mask, int predicate,
                      striate::cuda_host::Where where = striate::cuda_host::Where::current()) {
  return striate::cuda_host::ballot("__all_sync", mask, predicate != 0, where) == mask;
}

// ---- atomics: integers only, because Striate's sums have an order -------------------------------

namespace striate::cuda_host {
template <class T>
concept Atomic =
    std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;
}

template <striate::cuda_host::Atomic T>
T atomicAdd(T* to, std::type_identity_t<T> value) {
  const T before = *to;
  *to = static_cast<T>(static_cast<std::make_unsigned_t<T>>(before) +
                       static_cast<std::make_unsigned_t<T>>(value));
  return before;
}

template <striate::cuda_host::Atomic T>
T atomicMax(T* to, std::type_identity_t<T> value) {
  const T before = *to;
  *to = std::max(before, value);
  return before;
}

template <striate::cuda_host::Atomic T>
T atomicMin(T* to, std::type_identity_t<T> value) {
  const T before = *to;
  *to = std::min(before, value);
  return before;
}

template <striate::cuda_host::Atomic T>
T atomicOr(T* to, std::type_identity_t<T> value) {
  const T before = *to;
  *to = before | value;
  return before;
}

template <striate::cuda_host::Atomic T>
T atomicExch(T* to, std::type_identity_t<T> value) {
  const T before = *to;
  *to = value;
  return before;
}

template <striate::cuda_host::Atomic T>
T atomicCAS(T* to, std::type_identity_t<T> compare, std::type_identity_t<T> value) {
  const T before = *to;
  if (before == compare) *to = value;
  return before;
}

// ---- loads and bits -----------------------------------------------------------------------------

template <class T>
T __ldg(const T* from) {
  return *from;
}

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }

inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(uint64_t{a} * b >> 32);
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }

// ---- arithmetic ---------------------------------------------------------------------------------

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }

// CUDA's: a NaN loses against a number.
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

#define STRIATE_MIN_MAX(T)                            \
  constexpr T min(T a, T b) { return b < a ? b : a; } \
  constexpr T max(T a, T b) { return a < b ? b : a; }
STRIATE_MIN_MAX(int)
STRIATE_MIN_MAX(unsigned)
STRIATE_MIN_MAX(long)
STRIATE_MIN_MAX(unsigned long)
STRIATE_MIN_MAX(long long)
STRIATE_MIN_MAX(unsigned long long)
#undef STRIATE_MIN_MAX
