// gemm on Hopper's own instructions (compute capability 9.0): its matrix instructions take both
// operands from shared memory, which its copy engine fills. Builds without 9.0a link none.cc.
//
// Off unless STRIATE_CUDA_HOPPER=1 is set in the environment when it is first asked: it has been
// tested against an emulation of these instructions, but not measured on a Hopper GPU. It is to be
// on by itself when a measurement shows where it pays; see takes.cc.
#pragma once

#include "cuda/precision.h"
#include "striate/gemm.h"

namespace striate::cuda {

/// Whether hopper_gemm computes this product, and is expected to be the faster way.
bool hopper_gemm_takes(const GemmShape& s, const float* A, const float* B, Precision p);

/// As cuda::gemm, in tf32 or bf16, and then C += bias[N] to each row (nullptr: none), and
/// C = max(C, 0), NaN staying NaN, if `relu`. M, N and K are from 1 to 2^30.
/// Operands are rounded to nearest, sums are float32.
void hopper_gemm(float* C, const float* A, const float* B, const float* bias, bool relu,
                 float alpha, float beta, const GemmShape& s, Precision p);

}  // namespace striate::cuda
