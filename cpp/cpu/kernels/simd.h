// Vectors of floats, as wide as the instruction set that this file is compiled for.
//
// Written with the compiler's vector extensions (GCC, Clang), so the same source serves SSE2, AVX2,
// AVX-512 and NEON. Everything in cpp/cpu/kernels/ is compiled once per instruction set, in a
// namespace of that name (STRIATE_ISA): without it the linker would keep one copy of an inline
// helper, perhaps the AVX-512 one, for every CPU. For the same reason these files use no standard
// library template.
#pragma once

#include <cstdint>

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
static inline Vec broadcast(float v) { return Vec{} + v; }
static inline IntVec broadcast_int(int32_t v) { return IntVec{} + v; }

/// The first n < kLanes floats, the other lanes zero.
static inline Vec load_first(const float* p, int64_t n) {
  Vec v = {};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
static inline void store_first(float* p, Vec v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}

static inline Vec as_float(IntVec v) { return reinterpret_cast<Vec>(v); }
static inline IntVec as_int(Vec v) { return reinterpret_cast<IntVec>(v); }

/// mask ? a : b; a comparison of two Vecs is such a mask.
static inline Vec select(IntVec mask, Vec a, Vec b) {
  return as_float((mask & as_int(a)) | (~mask & as_int(b)));
}
/// The larger; b where either is NaN.
static inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
static inline Vec smaller(Vec a, Vec b) { return a < b ? a : b; }

/// The sum of the lanes, halves first: the order is fixed, so the bits are.
static inline float sum(Vec v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
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
