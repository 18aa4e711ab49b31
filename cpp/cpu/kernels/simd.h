// Vectors of floats, as wide as the instruction set that this file is compiled for.
//
// Written with the compiler's vector extensions (GCC, Clang), so the same source serves SSE2, AVX2,
// AVX-512 and NEON. Everything in cpp/cpu/kernels/ is compiled once per instruction set, in a
// namespace of that name (STRIATE_ISA): without it the linker would keep one copy of an inline
// helper, perhaps the AVX-512 one, for every CPU. For the same reason these files use no standard
// library template.
#pragma once

#include <cstdint>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#if !defined(STRIATE_ISA)
#error "STRIATE_ISA (the namespace of this instruction set) comes from CMakeLists.txt"
#endif

namespace striate::cpu::STRIATE_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef float UnalignedVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t UnalignedIntVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

static inline Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
static inline void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
static inline Vec broadcast(float v) { return v - Vec{}; }  // v - 0 is v; 0 + v is not, for -0
static inline IntVec broadcast_int(int32_t v) { return v - IntVec{}; }

// Parts of a vector; nothing outside them is read or written. (Masked loads and stores are what the
// vector extensions cannot say.)
//
//   load_first(p, n)            lanes [0, n) from p, n < kLanes, the others zero
//   store_first(p, v, n)        lanes [0, n) to p
//   load_between(p, n, m)       lanes [n, m) from p, 0 <= n < m <= kLanes, the others zero
#if defined(__AVX512F__)
static inline Vec load_first(const float* p, int64_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
static inline void store_first(float* p, Vec v, int64_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
}
static inline Vec load_between(const float* p, int64_t first, int64_t last) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << last) - (1u << first)), p);
}
#elif defined(__AVX2__)
static inline __m256i lanes_below(int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}
static inline Vec load_first(const float* p, int64_t n) {
  return _mm256_maskload_ps(p, lanes_below(n));
}
static inline void store_first(float* p, Vec v, int64_t n) {
  _mm256_maskstore_ps(p, lanes_below(n), v);
}
static inline Vec load_between(const float* p, int64_t first, int64_t last) {
  return _mm256_maskload_ps(p, _mm256_andnot_si256(lanes_below(first), lanes_below(last)));
}
#else
static inline Vec load_first(const float* p, int64_t n) {
  Vec v = {};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
static inline void store_first(float* p, Vec v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}
static inline Vec load_between(const float* p, int64_t first, int64_t last) {
  Vec v = {};
  for (int64_t i = first; i < last; ++i) v[i] = p[i];
  return v;
}
#endif

static inline Vec as_float(IntVec v) { return reinterpret_cast<Vec>(v); }
static inline IntVec as_int(Vec v) { return reinterpret_cast<IntVec>(v); }

/// The larger; b where either is NaN.
static inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }

/// max(0, v); NaN stays NaN, as in PyTorch: it is not <= 0.
static inline Vec relu(Vec v) { return v <= 0.0f ? Vec{} : v; }

template <int... I>
struct Ints {};
template <int N, int... I>
struct MakeIntsFrom : MakeIntsFrom<N - 1, N - 1, I...> {};
template <int... I>
struct MakeIntsFrom<0, I...> {
  using Type = Ints<I...>;
};
/// Ints<0, 1, ..., N - 1>: std::integer_sequence without the standard library.
template <int N>
using MakeInts = typename MakeIntsFrom<N>::Type;

/// Lanes I... of the 2 * kLanes lanes of a and b.
template <int... I>
static inline Vec shuffle(Vec a, Vec b, Ints<I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, I...);
#else  // GCC has __builtin_shufflevector, too, but only from version 12 on
  return __builtin_shuffle(a, b, IntVec{I...});
#endif
}

template <int kBy, int... I>
static inline Vec rotate(Vec v, Ints<I...>) {
  return shuffle(v, v, Ints<(I + kBy) % kLanes...>{});
}

/// The sum of the lanes, halves first: the order is fixed, so the bits are.
static inline float sum_lanes(Vec v) {
  if constexpr (kLanes >= 16) v += rotate<8>(v, MakeInts<kLanes>{});
  if constexpr (kLanes >= 8) v += rotate<4>(v, MakeInts<kLanes>{});
  v += rotate<2>(v, MakeInts<kLanes>{});
  v += rotate<1>(v, MakeInts<kLanes>{});
  return v[0];
}

template <int kFirst, int... I>
static inline Vec interleave(Vec a, Vec b, Ints<I...>) {
  return shuffle(a, b, Ints<kFirst + I / 2 + I % 2 * kLanes...>{});
}
template <int kFirst, int... I>
static inline Vec every_second(Vec a, Vec b, Ints<I...>) {
  return shuffle(a, b, Ints<kFirst + 2 * I...>{});
}

// Pairs of neighbours. interleave_low: a0 b0 a1 b1 ... of the lower halves; evens: every second of
// a and b, from the first on.
static inline Vec interleave_low(Vec a, Vec b) { return interleave<0>(a, b, MakeInts<kLanes>{}); }
static inline Vec interleave_high(Vec a, Vec b) {
  return interleave<kLanes / 2>(a, b, MakeInts<kLanes>{});
}
static inline Vec evens(Vec a, Vec b) { return every_second<0>(a, b, MakeInts<kLanes>{}); }
static inline Vec odds(Vec a, Vec b) { return every_second<1>(a, b, MakeInts<kLanes>{}); }

/// Transposes kLanes vectors of kLanes: log2(kLanes) rounds of the perfect shuffle.
static inline void transpose_square(Vec (&v)[kLanes]) {
  for (int round = 1; round < kLanes; round *= 2) {
    Vec w[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; ++i) {
      w[2 * i] = interleave_low(v[i], v[i + kLanes / 2]);
      w[2 * i + 1] = interleave_high(v[i], v[i + kLanes / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) v[i] = w[i];
  }
}

/// y[i] = f(x[i], ...): whole vectors first; the rest goes through the same arithmetic, so that the
/// place of an element in the array cannot change its bits.
template <class F, class... X>
static inline void map(float* y, int64_t n, F f, const X*... x) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)...));
  if (i < n) store_first(y + i, f(load_first(x + i, n - i)...), n - i);
}

}  // namespace striate::cpu::STRIATE_ISA
