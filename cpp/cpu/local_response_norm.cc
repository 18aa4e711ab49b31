#include "striate/local_response_norm.h"

#include <algorithm>
#include <cmath>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/parallel.h"
#include "cpu/trace.h"

namespace striate::cpu {
namespace {

// AlexNet's beta needs two square roots and a division, any other a logarithm and an exponential.
void powers(float* y, const float* d, int64_t n, double beta) {
  if (beta == 0.75) {
    kernels().lrn_power(y, d, n);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = std::pow(d[i], static_cast<float>(-beta));
  }
}

// body(offset of the tile in an array, its places, three pieces of scratch) for all tiles.
template <class Body>
void for_tiles(const LocalResponseNorm& s, const Body& body) {
  if (s.N * s.C * s.L == 0) return;
  const int64_t tiles = (s.L + kLrnTile - 1) / kLrnTile;
  const int64_t tile = s.C * lrn_pitch(std::min(kLrnTile, s.L));  // floats
  parallel_for(s.N * tiles, std::max<int64_t>(1, (int64_t{16} << 10) / tile),
               [&](int64_t begin, int64_t end) {
                 const Scratch scratch(3 * tile);
                 float* const p = scratch.get();
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t place = i % tiles * kLrnTile;
                   body(i / tiles * s.C * s.L + place, std::min(kLrnTile, s.L - place), p, p + tile,
                        p + 2 * tile);
                 }
               });
}

Trace traced(const char* op, const LocalResponseNorm& s, int arrays) {
  return {op,
          {{"N", s.N}, {"C", s.C}, {"L", s.L}, {"size", s.size}},
          {.bytes = 4.0 * arrays * s.N * s.C * s.L}};
}

}  // namespace

void local_response_norm_forward(float* y, const float* x, const LocalResponseNorm& s) {
  const Trace trace = traced("local_response_norm_forward", s, 2);
  const Kernels& k = kernels();
  for_tiles(s, [&](int64_t at, int64_t places, float* d, float* power, float*) {
    k.lrn_bases(d, power, x + at, s, places);
    powers(power, d, s.C * lrn_pitch(places), s.beta);
    k.lrn_forward(y + at, x + at, power, s, places);
  });
}

void local_response_norm_backward(float* dx, const float* dy, const float* x,
                                  const LocalResponseNorm& s) {
  const Trace trace = traced("local_response_norm_backward", s, 3);
  const Kernels& k = kernels();
  for_tiles(s, [&](int64_t at, int64_t places, float* d, float* power, float* ratios) {
    k.lrn_bases(d, power, x + at, s, places);
    powers(power, d, s.C * lrn_pitch(places), s.beta);
    k.lrn_backward(dx + at, dy + at, x + at, power, d, ratios, s, places);
  });
}

}  // namespace striate::cpu
