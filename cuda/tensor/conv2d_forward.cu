// conv2d's forward on tensor cores.
#include "cuda/conv2d_forward.cuh"
#include "cuda/tensor/tensor_core.cuh"

namespace striate::cuda {

template void gemm_conv2d_forward<Tf32>(const char*, float*, const float*, const float*,
                                        const float*, bool, const Conv2dShape&);
template void gemm_conv2d_forward<Bf16>(const char*, float*, const float*, const float*,
                                        const float*, bool, const Conv2dShape&);

}  // namespace striate::cuda
