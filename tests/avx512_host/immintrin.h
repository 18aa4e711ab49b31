// The AVX-512 kernels on a machine that has only AVX2: found before the compiler's own header, it
// gives the kernels their 16 lanes, which the compiler cuts in two, and the few intrinsics that the
// vector extensions cannot say. What is tested is the kernels' arithmetic and their every load and
// store, not the instructions themselves. -DSTRIATE_EMULATE_AVX512=ON builds so, for tests only.
#pragma once

#include_next <immintrin.h>
#include <stdint.h>

#define __AVX512F__ 1

namespace striate_avx512_host {

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint64_t Longs __attribute__((vector_size(64)));
typedef uint16_t Mask;

template <class Vector, class Element>
static inline Vector maskz_loadu(Mask mask, const Element* from) {
  Vector v = {};
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) v[i] = from[i];
  }
  return v;
}

template <class Vector, class Element>
static inline void mask_storeu(Element* to, Mask mask, Vector v) {
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) to[i] = v[i];
  }
}

template <class Vector>
static inline Vector maskz_compress(Mask mask, Vector v) {
  Vector packed = {};
  int next = 0;
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) packed[next++] = v[i];
  }
  return packed;
}

static inline Mask movepi32_mask(Ints v) {
  Mask mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<Mask>((v[i] < 0) << i);
  return mask;
}

// Of each pair of 32-bit lanes the product of the lower ones; the kernels set every bit of the mask.
static inline Ints maskz_mul_epu32(uint8_t, Ints a, Ints b) {
  const Longs low = Longs{} + 0xffffffffu;
  return reinterpret_cast<Ints>((reinterpret_cast<Longs>(a) & low) *
                                (reinterpret_cast<Longs>(b) & low));
}

}  // namespace striate_avx512_host

#define __m512i striate_avx512_host::Ints
#define __mmask16 striate_avx512_host::Mask
#define _mm512_maskz_loadu_ps striate_avx512_host::maskz_loadu<striate_avx512_host::Floats>
#define _mm512_mask_storeu_ps(to, mask, v) striate_avx512_host::mask_storeu(to, mask, v)
#define _mm512_storeu_ps(to, v) striate_avx512_host::mask_storeu(to, 0xffff, v)
#define _mm512_storeu_si512(to, v) striate_avx512_host::mask_storeu(to, 0xffff, v)
#define _mm512_maskz_compress_ps striate_avx512_host::maskz_compress
#define _mm512_maskz_compress_epi32 striate_avx512_host::maskz_compress
#define _mm512_movepi32_mask striate_avx512_host::movepi32_mask
#define _mm512_maskz_mul_epu32 striate_avx512_host::maskz_mul_epu32
