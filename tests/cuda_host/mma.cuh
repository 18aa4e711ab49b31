// Tensor cores on the host, with the names and layouts of cuda/device/mma.cuh: the last lane of a
// warp to come multiplies for all of them. Products and their sum are made in double and rounded
// once, where a GPU would drop some bits of each addend.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "emulation/execution.h"

namespace striate::cuda {

inline uint32_t round_to_tf32(float v) {
  if (std::isnan(v)) return 0x7fffffffu;
  return (std::bit_cast<uint32_t>(v) + (std::isinf(v) ? 0 : 0x1000u)) & 0xffffe000u;
}

inline uint32_t round_to_bf16(float low, float high) {
  const auto half = [](float v) -> uint32_t {
    if (std::isnan(v)) return 0x7fff;
    const auto bits = std::bit_cast<uint32_t>(v);
    return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
  };
  return half(low) | half(high) << 16;
}

}  // namespace striate::cuda

namespace striate::cuda_host {

struct MatrixOperands {
  float* sums;
  const uint32_t *a, *b;
};

/// kPack values in a word: 1 of tf32, or 2 of bf16.
template <int kPack>
double matrix_value(uint32_t word, int i) {
  // The hardware does not see the low bits of a tf32.
  const uint32_t bits =
      kPack == 1 ? word & 0xffffe000u : (i == 0 ? word << 16 : word & 0xffff0000u);
  return std::bit_cast<float>(bits);
}

template <int kPack>
void multiply_matrices(unsigned, Lanes<MatrixOperands> lanes) {
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float& to = lanes[row % 8 * 4 + column / 2].sums[row / 8 * 2 + column % 2];
      double sum = to;
      for (int depth = 0; depth < 8; ++depth) {
        const uint32_t a = lanes[row % 8 * 4 + depth % 4].a[depth / 4 * 2 + row / 8];
        const uint32_t b = lanes[column * 4 + depth % 4].b[depth / 4];
        for (int i = 0; i < kPack; ++i) {
          sum += matrix_value<kPack>(a, i) * matrix_value<kPack>(b, i);
        }
      }
      to = static_cast<float>(sum);
    }
  }
}

}  // namespace striate::cuda_host

namespace striate::cuda {

inline void multiply_tf32(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                          cuda_host::Where where = cuda_host::Where::current()) {
  using namespace cuda_host;
  MatrixOperands mine{sums, a, b};
  warp_collective(
      "multiply_tf32", ~0u, mine,
      [](unsigned mask, Lanes<MatrixOperands> lanes) { multiply_matrices<1>(mask, lanes); }, where);
}

inline void multiply_bf16(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                          cuda_host::Where where = cuda_host::Where::current()) {
  using namespace cuda_host;
  MatrixOperands mine{sums, a, b};
  warp_collective(
      "multiply_bf16", ~0u, mine,
      [](unsigned mask, Lanes<MatrixOperands> lanes) { multiply_matrices<2>(mask, lanes); }, where);
}

}  // namespace striate::cuda
