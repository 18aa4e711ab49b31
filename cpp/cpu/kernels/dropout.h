// Dropout over a run of floats; the lanes of Philox are consecutive counters.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "cpu/kernels/simd.h"
#include "striate/dropout.h"

namespace striate::cpu::STRIATE_ISA {

// Counters sit in 64-bit lanes, of which only the low half counts: their products need the room.
constexpr int64_t kCounters = kLanes / 2;
typedef uint64_t WideVec __attribute__((vector_size(kLanes * 4)));
typedef uint32_t WordVec __attribute__((vector_size(kLanes * 4)));

/// The product of the low halves.
static inline WideVec multiply_low(WideVec a, WideVec b) {
#if defined(__AVX512F__)
  return reinterpret_cast<WideVec>(_mm512_maskz_mul_epu32(  // GCC 12 warns of the one without mask
      0xff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<WideVec>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<WideVec>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

/// Words 0 and 1 of each counter, and words 2 and 3, of kCounters counters from `first`.
static inline void philox(WideVec& low, WideVec& high, uint32_t first, const DropoutKey& key) {
  WideVec a, b = WideVec{} + key.call, c = WideVec{} + key.step, d = {};
  for (int l = 0; l < kCounters; ++l) a[l] = first + static_cast<uint32_t>(l);
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  const WideVec m0 = WideVec{} + 0xD2511F53, m1 = WideVec{} + 0xCD9E8D57;
  for (int round = 0; round < 10; ++round) {
    const WideVec p0 = multiply_low(a, m0), p1 = multiply_low(c, m1);
    a = (p1 >> 32) ^ b ^ k0;
    b = p1;
    c = (p0 >> 32) ^ d ^ k1;
    d = p0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  low = (a & 0xffffffffu) | (b << 32);
  high = (c & 0xffffffffu) | (d << 32);
}

static void dropout(float* y, const float* x, int64_t n, uint32_t threshold, float scale,
                    const DropoutKey& key, int64_t offset) {
  constexpr int64_t kWords = 4 * kCounters;  // two vectors of floats
  const WordVec least = WordVec{} + threshold;
  union {
    uint64_t pairs[kWords / 2];
    WordVec vectors[2];
    uint32_t words[kWords];
  } random;
  // The first run of words may begin before the first element.
  for (int64_t j = -(offset % kWords); j < n; j += kWords) {
    WideVec low, high;
    philox(low, high, static_cast<uint32_t>((offset + j) / 4), key);
    for (int l = 0; l < kCounters; ++l) {
      random.pairs[2 * l] = low[l];
      random.pairs[2 * l + 1] = high[l];
    }
    if (j >= 0 && j + kWords <= n) {
      for (int v = 0; v < 2; ++v) {
        const Vec scaled = load(x + j + v * kLanes) * scale;
        store(y + j + v * kLanes, random.vectors[v] >= least ? scaled : Vec{});
      }
    } else {
      for (int64_t i = j < 0 ? 0 : j; i < j + kWords && i < n; ++i) {
        y[i] = random.words[i - j] >= threshold ? x[i] * scale : 0.0f;
      }
    }
  }
}

}  // namespace striate::cpu::STRIATE_ISA
