// conv2d's backward_data in float32.
#include "cuda/conv2d_backward_data.cuh"
#include "cuda/float32.cuh"

namespace striate::cuda {

template void gemm_conv2d_backward_data<Float32>(float*, const float*, const float*,
                                                 const Conv2dShape&);

}  // namespace striate::cuda
