// linear with weights that were packed before: once for an inference object, once a step for the
// pieces of a training batch.
//
// The packed form is the one that gemm's register tiles read: for every `tile_columns` outputs, what
// they multiply each input by, side by side. A single row of x reads it as one stream from end to
// end, at the memory's rate; many rows take it tile by tile. It depends on the instruction set, so
// it must be used with the one it was made with. The batch is no part of it: s.N is not read where
// weights are packed, and a row's result has the same bits in a batch of any size.
#pragma once

#include "striate/linear.h"

namespace striate::cpu {

/// Floats that the packed weights take, for the forward pass and for backward_data.
int64_t linear_weights_size(const LinearShape& s);
int64_t linear_backward_weights_size(const LinearShape& s);

/// Packs w[K, C], for the forward pass and for backward_data.
void linear_prepare_weights(float* packed, const float* w, const LinearShape& s);
void linear_prepare_backward_weights(float* packed, const float* w, const LinearShape& s);

/// y[N, K] = x[N, C] w^T + bias[K] (which may be nullptr); then, with relu, max(0, y).
void linear_forward_prepared(float* y, const float* x, const float* packed, const float* bias,
                             bool relu, const LinearShape& s);

/// dx[N, C] = dy[N, K] w, by what linear_prepare_backward_weights packed.
void linear_backward_data_prepared(float* dx, const float* dy, const float* packed,
                                   const LinearShape& s);

/// dw[K, C] (+)= dy[N, K]^T x[N, C]; db[K] (+)= sum over N of dy. `accumulate` adds: the pieces of a
/// batch, one after the other, sum up to the whole.
void linear_accumulate_weight(float* dw, const float* dy, const float* x, bool accumulate,
                              const LinearShape& s);
void linear_accumulate_bias(float* db, const float* dy, bool accumulate, const LinearShape& s);

}  // namespace striate::cpu
