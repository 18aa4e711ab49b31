// conv2d without a matrix of patches, in two forms. A register tile holds outputs, and the sum runs
// over channel, kernel row, kernel column, in this order and from the bias on: both forms give the
// same bits.
//
// direct_pixels    lanes are neighbouring pixels of an output row; each step loads a vector of x
//                  for each of a few places and multiplies it by the broadcast weights of a few
//                  output channels. For few output channels.
// direct_channels  lanes are output channels; each step loads one or two vectors of weights and
//                  multiplies them by the broadcast pixels under some neighbouring outputs. Every
//                  lane is of use when the channels fill vectors, however narrow the image.
//
// Both read an image that direct_lay_out has padded and cut into phases: with stride 2 first the
// columns 0, 2, 4, ... of a row, then 1, 3, 5, ..., so that neighbouring outputs always read
// neighbouring floats.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

// Accumulators, the vectors loaded and one broadcast must fit the registers: 32 of them, or 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kPixelVectors = 4, kChannelPixels[] = {14, 14};  // with one and with two vectors
#else
constexpr int kPixelVectors = 2, kChannelPixels[] = {12, 6};
#endif
constexpr int kPixelChannels = 6, kChannelVectors = 2;

/// The places of some vectors of output: where their pixels stand in x and in y.
struct PixelPlaces {
  const float* x[kPixelVectors];
  float* y[kPixelVectors];
};

template <int kChannels, int kVectors>
static void pixels_tile(const DirectConv& t, const PixelPlaces& at) {
  Vec sum[kChannels][kVectors];
  const float* x[kVectors];
  for (int i = 0; i < kChannels; ++i) {
    for (int j = 0; j < kVectors; ++j) {
      sum[i][j] = t.bias != nullptr ? broadcast(t.bias[i]) : Vec{};
    }
  }
  for (int j = 0; j < kVectors; ++j) x[j] = at.x[j];
  const float* w = t.w;
  for (int64_t tap = 0; tap < t.taps; ++tap, w += kChannels) {
    Vec pixels[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) pixels[j] = load(x[j] + t.tap[tap]);
#pragma GCC unroll 6
    for (int i = 0; i < kChannels; ++i) {
      const Vec factor = broadcast(w[i]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sum[i][j] += factor * pixels[j];
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < kChannels; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      const Vec out = t.relu ? relu(sum[i][j]) : sum[i][j];
      float* const y = at.y[j] + i * t.y_channel;
      if (t.Q >= kLanes) {
        store(y, out);
      } else {
        store_first(y, out, t.Q);
      }
    }
  }
}

template <int... I>
static void choose_pixels(int64_t channels, int vectors, const DirectConv& t, const PixelPlaces& at,
                          Ints<I...>) {
  static constexpr void (*tiles[])(const DirectConv&, const PixelPlaces&) = {
      pixels_tile<I / kPixelVectors + 1, I % kPixelVectors + 1>...};
  tiles[(channels - 1) * kPixelVectors + vectors - 1](t, at);
}

static void direct_pixels(int64_t channels, const DirectConv& t) {
  PixelPlaces at;
  int vectors = 0;
  const auto flush = [&] {
    choose_pixels(channels, vectors, t, at, MakeInts<kPixelChannels * kPixelVectors>{});
    vectors = 0;
  };
  for (int64_t p = 0; p < t.P; ++p) {
    for (int64_t q = 0; q < t.Q; q += kLanes) {
      // The last vector of a row overlaps the one before, unless there is none.
      const int64_t first = q + kLanes > t.Q && t.Q > kLanes ? t.Q - kLanes : q;
      at.x[vectors] = t.x + p * t.x_row + first;
      at.y[vectors] = t.y + p * t.y_row + first;
      if (++vectors == kPixelVectors) flush();
    }
  }
  if (vectors > 0) flush();
}

template <int kVectors, int kPixels>
static void channels_tile(const DirectConv& t, int64_t channels, const float* x, float* y) {
  Vec sum[kVectors][kPixels];
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
    const int64_t left = channels - j * kLanes;
    const Vec bias = t.bias == nullptr || left <= 0 ? Vec{}
                     : left >= kLanes               ? load(t.bias + j * kLanes)
                                                    : load_first(t.bias + j * kLanes, left);
#pragma GCC unroll 14
    for (int i = 0; i < kPixels; ++i) sum[j][i] = bias;
  }
  const float* w = t.w;
  for (int64_t tap = 0; tap < t.taps; ++tap, w += kVectors * kLanes) {
    const float* const pixels = x + t.tap[tap];
    Vec weights[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) weights[j] = load(w + j * kLanes);
#pragma GCC unroll 14
    for (int i = 0; i < kPixels; ++i) {
      const Vec pixel = broadcast(pixels[i]);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[j][i] += weights[j] * pixel;
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < kPixels; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) {
      store(y + (i * kVectors + j) * kLanes, t.relu ? relu(sum[j][i]) : sum[j][i]);
    }
  }
}

using ChannelsTile = void(const DirectConv&, int64_t channels, const float* x, float* y);

template <int kVectors, int... I>
static ChannelsTile* choose_channels(int64_t pixels, Ints<I...>) {
  static constexpr ChannelsTile* tiles[] = {channels_tile<kVectors, I + 1>...};
  return tiles[pixels - 1];
}

/// to[c * ld_to + r] = from[r * ld_from + c]; nothing else is written.
static void turn_channels(float* to, int64_t ld_to, const float* from, int64_t ld_from,
                          int64_t rows, int64_t columns) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    for (int64_t r = 0; r < rows; r += kLanes) {
      const int64_t high = rows - r < kLanes ? rows - r : kLanes;
      Vec v[kLanes];
      for (int i = 0; i < kLanes; ++i) v[i] = i < high ? load(from + (r + i) * ld_from + c) : Vec{};
      transpose_square(v);
      const int64_t wide = columns - c < kLanes ? columns - c : kLanes;
      for (int i = 0; i < wide; ++i) {
        float* const row = to + (c + i) * ld_to + r;
        if (high == kLanes) {
          store(row, v[i]);
        } else {
          store_first(row, v[i], high);
        }
      }
    }
  }
}

static void direct_channels(int64_t channels, const DirectConv& t, float* tile) {
  const int64_t vectors = (channels + kLanes - 1) / kLanes, most = kChannelPixels[vectors - 1];
  const int64_t cuts = (t.Q + most - 1) / most, pixels = (t.Q + cuts - 1) / cuts;
  for (int64_t q = 0; q < t.Q; q += pixels) {
    const int64_t count = t.Q - q < pixels ? t.Q - q : pixels;
    ChannelsTile* const compute = vectors == 1
                                      ? choose_channels<1>(count, MakeInts<kChannelPixels[0]>{})
                                      : choose_channels<2>(count, MakeInts<kChannelPixels[1]>{});
    for (int64_t p = 0; p < t.P; ++p) {
      compute(t, channels, t.x + p * t.x_row + q, tile + (p * t.Q + q) * vectors * kLanes);
    }
  }
  if (t.y != nullptr) {
    turn_channels(t.y, t.y_channel, tile, vectors * kLanes, t.P * t.Q, channels);
  }
}

/// One row: to[phase * phase_size + i] = from[i * phases + phase] for i * phases + phase < n.
static void lay_out_row(float* to, const float* from, int64_t n, int64_t phases,
                        int64_t phase_size) {
  if (phases == 1) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(to + i, load(from + i));
    if (i < n) store_first(to + i, load_first(from + i, n - i), n - i);
    return;
  }
  int64_t i = 0;
  if (phases == 2 || phases == 4) {
    for (; (i + kLanes) * phases <= n; i += kLanes) {
      const float* const p = from + i * phases;
      const Vec a = load(p), b = load(p + kLanes);
      const Vec even = evens(a, b), odd = odds(a, b);
      if (phases == 2) {
        store(to + i, even);
        store(to + phase_size + i, odd);
        continue;
      }
      const Vec c = load(p + 2 * kLanes), d = load(p + 3 * kLanes);
      const Vec next_even = evens(c, d), next_odd = odds(c, d);
      store(to + i, evens(even, next_even));
      store(to + phase_size + i, evens(odd, next_odd));
      store(to + 2 * phase_size + i, odds(even, next_even));
      store(to + 3 * phase_size + i, odds(odd, next_odd));
    }
  }
  for (int64_t j = i * phases, phase = 0; j < n; ++j) {  // no divisions: a tail is a good part
    to[phase * phase_size + i] = from[j];
    if (++phase == phases) phase = 0, ++i;
  }
}

static void direct_lay_out(float* to, const float* x, const DirectLayout& l) {
  for (int64_t c = 0; c < l.channels; ++c) {
    for (int64_t h = 0; h < l.rows; ++h) {
      float* const row = to + c * l.plane + h * l.row;
      const float* const from = x + c * l.x_plane + h * l.x_row;
      // The first pixel's phase and place in it; the following ones wrap around.
      int64_t phase = l.first % l.phases, place = l.first / l.phases, done = 0;
      while (phase != 0 && done < l.columns) {
        row[phase * l.phase_size + place] = from[done++];
        if (++phase == l.phases) phase = 0, ++place;
      }
      lay_out_row(row + place, from + done, l.columns - done, l.phases, l.phase_size);
    }
  }
}

}  // namespace striate::cpu::STRIATE_ISA
