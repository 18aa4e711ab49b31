// conv2d with weights that were laid out or transformed before: once for many batches (inference),
// or once a step for many parts of a batch (training).
#pragma once

#include <cstdint>

#include "cpu/conv2d_algorithm.h"

namespace striate::cpu {

/// Floats that conv2d_prepare writes for a pass, forward or backward_data, by an algorithm that
/// conv2d_algorithm chose for it. N does not count.
int64_t conv2d_prepared_size(Conv2dAlgorithm algorithm, Conv2dPass pass, const Conv2dShape& s);
void conv2d_prepare(Conv2dAlgorithm algorithm, Conv2dPass pass, float* prepared, const float* w,
                    const Conv2dShape& s);

void conv2d_forward_prepared(Conv2dAlgorithm algorithm, float* y, const float* x,
                             const float* prepared, const Conv2dFinish& finish,
                             const Conv2dShape& s);
void conv2d_backward_data_prepared(Conv2dAlgorithm algorithm, float* dx, const float* dy,
                                   const float* prepared, const Conv2dShape& s);

}  // namespace striate::cpu
