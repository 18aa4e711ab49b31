// The gradients of a convolution of few channels, for every element of dy that is not zero. Behind a
// ReLU and a 2x2 max pooling seven of eight are: what is left costs less than any dense product.
//
//   weights   dw[k] += dy[k, p, q] * (the patch of x under p, q). A patch is a run of S neighbours
//             for each channel and kernel row: lanes run along it, sums stay in registers.
//   data      the patch under p, q of dx += sum over k of dy[k, p, q] * w[k], dx with its channels
//             last, so that a run holds the S * C elements of a kernel row.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

// --- lists of what is not zero -------------------------------------------------------------------

#if defined(__AVX512F__)
/// Appends the lanes of `mask`; kLanes elements are written.
static inline int64_t append(int32_t* at, float* value, IntVec i, Vec v, uint32_t mask) {
  const __mmask16 m = static_cast<__mmask16>(mask);
  _mm512_storeu_ps(value, _mm512_maskz_compress_ps(m, v));
  _mm512_storeu_si512(at, _mm512_maskz_compress_epi32(m, reinterpret_cast<__m512i>(i)));
  return __builtin_popcount(mask);
}
static inline uint32_t lanes_of(IntVec condition) {
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(condition));
}
#elif defined(__AVX2__)
// For every mask the lanes that it holds, in order.
struct Compressed {
  uint8_t lane[256][8];
  constexpr Compressed() : lane() {
    for (int mask = 0; mask < 256; ++mask) {
      int n = 0;
      for (int i = 0; i < 8; ++i) {
        if (mask >> i & 1) lane[mask][n++] = static_cast<uint8_t>(i);
      }
    }
  }
};
static constexpr Compressed kCompressed;

static inline int64_t append(int32_t* at, float* value, IntVec i, Vec v, uint32_t mask) {
  const auto* const from = reinterpret_cast<const __m128i*>(kCompressed.lane[mask]);
  const __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from));
  _mm256_storeu_ps(value, _mm256_permutevar8x32_ps(v, order));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at),
                      _mm256_permutevar8x32_epi32(reinterpret_cast<__m256i>(i), order));
  return __builtin_popcount(mask);
}
static inline uint32_t lanes_of(IntVec condition) {
  return static_cast<uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(condition)));
}
#else
static inline int64_t append(int32_t* at, float* value, IntVec i, Vec v, uint32_t mask) {
  int64_t n = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    at[n] = i[lane], value[n] = v[lane];
    n += mask >> lane & 1;
  }
  return n;
}
static inline uint32_t lanes_of(IntVec condition) {
  uint32_t mask = 0;
  for (int lane = 0; lane < kLanes; ++lane) mask |= condition[lane] != 0 ? 1u << lane : 0u;
  return mask;
}
#endif

static inline IntVec load_ints(const int32_t* p, int64_t n) {
  if (n >= kLanes) return *reinterpret_cast<const UnalignedIntVec*>(p);
  return as_int(load_first(reinterpret_cast<const float*>(p), n));
}
static inline Vec load_some(const float* p, int64_t n) {
  return n >= kLanes ? load(p) : load_first(p, n);
}

/// at[..], value[..] = place and value of the n elements of dy that are not zero; returns how many.
/// Up to kLanes more are written.
static int64_t direct_nonzeros(int32_t* at, float* value, const float* dy, const int32_t* place,
                               int64_t n) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec v = load_some(dy + i, n - i);
    const uint32_t mask = lanes_of(v != 0.0f);
    if (mask != 0) {
      count += append(at + count, value + count, load_ints(place + i, n - i), v, mask);
    }
  }
  return count;
}

// --- the gradient of the weights -----------------------------------------------------------------

constexpr int kRun = 8;  // lanes of a run, which is rarely longer
constexpr int kPartLanes = kLanes < kRun ? kLanes : kRun, kParts = kRun / kPartLanes;
typedef float RunPart __attribute__((vector_size(kPartLanes * 4)));
typedef float UnalignedRunPart __attribute__((vector_size(kPartLanes * 4), aligned(4), may_alias));

#if defined(__AVX512F__)
constexpr int kMostRuns = 15;
#elif defined(__AVX__)
constexpr int kMostRuns = 12;
#else
constexpr int kMostRuns = 6;
#endif
constexpr int kRunRows = 5, kRunChannels = 3;

static inline RunPart load_part(const float* p, int part) {
  return *reinterpret_cast<const UnalignedRunPart*>(p + part * kPartLanes);
}

template <int kChannels, int kRows>
static void add_patches(const DirectPatches& t, float* sums, const float* x) {
  RunPart sum[kChannels][kRows][kParts];
#pragma GCC unroll 3
  for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 5
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int i = 0; i < kParts; ++i) {
        sum[c][r][i] = load_part(sums + c * t.sums_channel + r * kRun, i);
      }
    }
  }
  for (int64_t entry = 0; entry < t.count; ++entry) {
    const float* plane = x + t.at[entry];
    const RunPart value = t.value[entry] - RunPart{};
#pragma GCC unroll 3
    for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 5
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int i = 0; i < kParts; ++i) {
          sum[c][r][i] += value * load_part(plane + r * t.x_row, i);
        }
      }
      plane += t.x_plane;
    }
  }
#pragma GCC unroll 3
  for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 5
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int i = 0; i < kParts; ++i) {
        float* const to = sums + c * t.sums_channel + r * kRun + i * kPartLanes;
        *reinterpret_cast<UnalignedRunPart*>(to) = sum[c][r][i];
      }
    }
  }
}

using AddPatches = void(const DirectPatches&, float* sums, const float* x);

template <int... I>
static AddPatches* choose_add_patches(int64_t channels, int64_t rows, Ints<I...>) {
  static constexpr AddPatches* all[] = {add_patches<I / kRunRows + 1, I % kRunRows + 1>...};
  return all[(channels - 1) * kRunRows + rows - 1];
}

/// Adds value[i] times the patch of x at at[i] to the sums[channel][run][kernel row][kRun].
static void direct_add_patches(float* sums, const float* x, const DirectPatches& t) {
  const int64_t cuts = (t.R + kRunRows - 1) / kRunRows, rows = (t.R + cuts - 1) / cuts;
  const int64_t fit = kMostRuns / rows, channels = fit < 1              ? 1
                                                   : fit < kRunChannels ? fit
                                                                        : kRunChannels;
  for (int64_t c = 0; c < t.C; c += channels) {
    const int64_t wide = t.C - c < channels ? t.C - c : channels;
    for (int64_t run = 0; run * kRun < t.S; ++run) {
      for (int64_t r = 0; r < t.R; r += rows) {
        const int64_t high = t.R - r < rows ? t.R - r : rows;
        choose_add_patches(wide, high, MakeInts<kRunChannels * kRunRows>{})(
            t, sums + c * t.sums_channel + (run * t.R + r) * kRun,
            x + c * t.x_plane + r * t.x_row + run * kRun);
      }
    }
  }
}

// The same for a dy that is mostly not zero: lanes are output channels, which stand last in dy, and
// each step multiplies one or two vectors of them by the broadcast pixels under a few taps.

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kMostTaps = 14, kTapColumns = 7, kTapRows = 3;  // with two vectors of channels
#else
constexpr int kMostTaps = 6, kTapColumns = 6, kTapRows = 2;
#endif

template <int kVectors, int kRows, int kColumns>
static void add_taps(const DirectTaps& t, float* sums, const float* x) {
  Vec sum[kRows][kColumns][kVectors];
#pragma GCC unroll 3
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 7
    for (int s = 0; s < kColumns; ++s) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        sum[r][s][j] = load(sums + ((r * t.S + s) * kVectors + j) * kLanes);
      }
    }
  }
  const float* dy = t.dy;
  for (int64_t p = 0; p < t.P; ++p) {
    const float* at = x + p * t.x_row;
    for (int64_t q = 0; q < t.Q; ++q, at += t.x_step, dy += kVectors * kLanes) {
      Vec d[kVectors];
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) d[j] = load(dy + j * kLanes);
      const float* row = at;
#pragma GCC unroll 3
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 7
        for (int s = 0; s < kColumns; ++s) {
          const Vec pixel = broadcast(row[s]);
#pragma GCC unroll 2
          for (int j = 0; j < kVectors; ++j) sum[r][s][j] += pixel * d[j];
        }
        row += t.x_tap_row;
      }
    }
  }
#pragma GCC unroll 3
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 7
    for (int s = 0; s < kColumns; ++s) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        store(sums + ((r * t.S + s) * kVectors + j) * kLanes, sum[r][s][j]);
      }
    }
  }
}

using AddTaps = void(const DirectTaps&, float* sums, const float* x);

template <int kVectors, int... I>
static AddTaps* choose_add_taps(int64_t rows, int64_t columns, Ints<I...>) {
  static constexpr AddTaps* all[] = {
      add_taps<kVectors, I / kTapColumns + 1, I % kTapColumns + 1>...};
  return all[(rows - 1) * kTapColumns + columns - 1];
}

/// sums[c][r][s][channels, padded to whole vectors] += x * dy over the pixels of some rows.
static void direct_add_taps(int64_t channels, float* sums, const DirectTaps& t) {
  const int64_t vectors = (channels + kLanes - 1) / kLanes, width = vectors * kLanes;
  const int64_t cuts = (t.S + kTapColumns - 1) / kTapColumns, columns = (t.S + cuts - 1) / cuts;
  const int64_t fit = kMostTaps / columns, most = fit < 1 ? 1 : fit < kTapRows ? fit : kTapRows;
  for (int64_t c = 0; c < t.C; ++c) {
    for (int64_t r = 0; r < t.R; r += most) {
      const int64_t high = t.R - r < most ? t.R - r : most;
      for (int64_t s = 0; s < t.S; s += columns) {
        const int64_t wide = t.S - s < columns ? t.S - s : columns;
        AddTaps* const add =
            vectors == 1 ? choose_add_taps<1>(high, wide, MakeInts<kTapRows * kTapColumns>{})
                         : choose_add_taps<2>(high, wide, MakeInts<kTapRows * kTapColumns>{});
        add(t, sums + ((c * t.R + r) * t.S + s) * width, t.x + c * t.x_plane + r * t.x_tap_row + s);
      }
    }
  }
}

// --- the gradient of x ---------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr int kSpreadRows = 5, kSpreadVectors = 4;
#else
constexpr int kSpreadRows = 3, kSpreadVectors = 4;
#endif

template <int kRows, int kVectors>
static void spread(const DirectSpread& t, float* dx, const float* w, int64_t count, IntVec tail) {
  constexpr int kLast = kVectors - 1;
  Vec sum[kRows][kVectors] = {};
  for (int64_t i = 0; i < count; ++i) {
    const float* row = w + t.at[i];
    const Vec value = broadcast(t.value[i]);
#pragma GCC unroll 5
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sum[r][j] += value * load(row + j * kLanes);
      row += t.w_row;
    }
  }
#pragma GCC unroll 5
  for (int r = 0; r < kRows; ++r) {
    float* const to = dx + r * t.dx_row;
#pragma GCC unroll 4
    for (int j = 0; j < kLast; ++j) store(to + j * kLanes, load(to + j * kLanes) + sum[r][j]);
    // A NaN times the zeros behind a row of weights must not reach the next pixel.
    float* const last = to + kLast * kLanes;
    store(last, load(last) + as_float(as_int(sum[r][kLast]) & tail));
  }
}

using Spread = void(const DirectSpread&, float* dx, const float* w, int64_t count, IntVec tail);

template <int... I>
static Spread* choose_spread(int64_t rows, int64_t vectors, Ints<I...>) {
  static constexpr Spread* all[] = {spread<I / kSpreadVectors + 1, I % kSpreadVectors + 1>...};
  return all[(rows - 1) * kSpreadVectors + vectors - 1];
}

/// Adds to dx (channels last, padded) what the pixels of dy[P][Q][K] owe it. Accumulators:
/// kSpreadRows * kSpreadVectors at most; with 16 registers some rows of the kernel at a time.
static void direct_spread(float* dx, const float* dy, const DirectSpread& t) {
  const int64_t width = t.w_row / kLanes;
  IntVec lane = {};
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  const IntVec whole = broadcast_int(-1);
  const IntVec tail = lane < broadcast_int(static_cast<int32_t>(t.w_used - t.w_row + kLanes));
  const int64_t cuts = (t.R + kSpreadRows - 1) / kSpreadRows, rows = (t.R + cuts - 1) / cuts;
  Spread* const at_once = rows == t.R && width <= kSpreadVectors
                              ? choose_spread(rows, width, MakeInts<kSpreadRows * kSpreadVectors>{})
                              : nullptr;
  for (int64_t p = 0; p < t.P; ++p) {
    float* to = dx + p * t.dx_step_h;
    for (int64_t q = 0; q < t.Q; ++q, to += t.dx_step_w, dy += t.K) {
      const int64_t count = direct_nonzeros(t.at, t.value, dy, t.w_place, t.K);
      if (count == 0) continue;
      if (at_once != nullptr) {
        at_once(t, to, t.w, count, tail);
        continue;
      }
      for (int64_t r = 0; r < t.R; r += rows) {
        const int64_t high = t.R - r < rows ? t.R - r : rows;
        for (int64_t j = 0; j < width; j += kSpreadVectors) {
          const int64_t wide = width - j < kSpreadVectors ? width - j : kSpreadVectors;
          choose_spread(high, wide, MakeInts<kSpreadRows * kSpreadVectors>{})(
              t, to + r * t.dx_row + j * kLanes, t.w + r * t.w_row + j * kLanes, count,
              j + wide == width ? tail : whole);
        }
      }
    }
  }
}

}  // namespace striate::cpu::STRIATE_ISA
