// Tensor cores: one warp multiplies 16 rows by 8 columns. From compute capability 8.0.
// (tests/cuda_host has the same names for kernels on the host.)
//
// A register holds a word: a tf32, or two bf16, neighbours in depth, the first in the low half.
// Lane 4 i + j of the warp holds, of matrices counted in words,
//   a: (row i, depth j), (i + 8, j), (i, j + 4), (i + 8, j + 4)      of 16 rows x depth 8
//   b: (depth j, column i), (j + 4, i)                               of depth 8 x 8 columns
//   sums: (row i, column 2 j), (i, 2 j + 1), (i + 8, 2 j), (i + 8, 2 j + 1).
#pragma once

#include <cstdint>

namespace striate::cuda {

/// The nearest number with 10 bits of mantissa; of two, the larger magnitude.
__device__ __forceinline__ uint32_t round_to_tf32(float v) {
  uint32_t word;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(v));
  return word;
}

/// The nearest bfloat16 of both; of two, the even one.
__device__ __forceinline__ uint32_t round_to_bf16(float low, float high) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}

/// sums += a b, of tf32.
__device__ __forceinline__ void multiply_tf32(float (&sums)[4], const uint32_t (&a)[4],
                                              const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// sums += a b, of bf16.
__device__ __forceinline__ void multiply_bf16(float (&sums)[4], const uint32_t (&a)[4],
                                              const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace striate::cuda
