// conv2d's backward_weight in float32.
#include "cuda/conv2d_backward_weight.cuh"
#include "cuda/float32.cuh"

namespace striate::cuda {

template void gemm_conv2d_backward_weight<Float32>(float*, const float*, const float*,
                                                   const Conv2dShape&);

}  // namespace striate::cuda
