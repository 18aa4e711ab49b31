// conv2d's forward in float32.
#include "cuda/conv2d_forward.cuh"
#include "cuda/float32.cuh"

namespace striate::cuda {

template void gemm_conv2d_forward<Float32>(const char*, float*, const float*, const float*,
                                           const float*, bool, const Conv2dShape&);

}  // namespace striate::cuda
