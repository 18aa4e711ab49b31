// The passes of conv2d as products of matrices of which one is never stored (im2col.cuh), each in an
// arithmetic: in conv2d_*.cu and tensor/conv2d.cu. None of the outputs is empty.
#pragma once

#include "cuda/launch.h"
#include "cuda/multiply_in.h"
#include "striate/conv2d.h"

namespace striate::cuda {

/// Its sizes and costs, for messages.
Op conv2d_op(const char* name, const Conv2dShape& s, const char* algorithm);

template <class Math>
void gemm_conv2d_forward(const char* name, float* y, const float* x, const float* w, const float* b,
                         bool relu, const Conv2dShape& s);
template <class Math>
void gemm_conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s);
template <class Math>
void gemm_conv2d_backward_weight(float* dw, const float* dy, const float* x, const Conv2dShape& s);

extern template void gemm_conv2d_forward<Float32>(const char*, float*, const float*, const float*,
                                                  const float*, bool, const Conv2dShape&);
extern template void gemm_conv2d_forward<Tf32>(const char*, float*, const float*, const float*,
                                               const float*, bool, const Conv2dShape&);
extern template void gemm_conv2d_forward<Bf16>(const char*, float*, const float*, const float*,
                                               const float*, bool, const Conv2dShape&);
extern template void gemm_conv2d_backward_data<Float32>(float*, const float*, const float*,
                                                        const Conv2dShape&);
extern template void gemm_conv2d_backward_data<Tf32>(float*, const float*, const float*,
                                                     const Conv2dShape&);
extern template void gemm_conv2d_backward_data<Bf16>(float*, const float*, const float*,
                                                     const Conv2dShape&);
extern template void gemm_conv2d_backward_weight<Float32>(float*, const float*, const float*,
                                                          const Conv2dShape&);
extern template void gemm_conv2d_backward_weight<Tf32>(float*, const float*, const float*,
                                                       const Conv2dShape&);
extern template void gemm_conv2d_backward_weight<Bf16>(float*, const float*, const float*,
                                                       const Conv2dShape&);

}  // namespace striate::cuda
