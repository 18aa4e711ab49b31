// linear with weights that were packed before, once for an inference object.
//
// The packed form is the one that gemm's register tiles read: for every `tile_columns` outputs, what
// they multiply each input by, side by side. A single row of x reads it as one stream from end to
// end, at the memory's rate; many rows take it tile by tile. It depends on the instruction set, so
// it must be used with the one it was made with. The batch is no part of it: s.N is not read where
// weights are packed, and a row's result has the same bits in a batch of any size.
#pragma once

#include "striate/linear.h"

namespace striate::cpu {

/// Floats that the packed weights take.
int64_t linear_weights_size(const LinearShape& s);

/// Packs w[K, C].
void linear_prepare_weights(float* packed, const float* w, const LinearShape& s);

/// y[N, K] = x[N, C] w^T + bias[K] (which may be nullptr); then, with relu, max(0, y).
void linear_forward_prepared(float* y, const float* x, const float* packed, const float* bias,
                             bool relu, const LinearShape& s);

}  // namespace striate::cpu
