// conv2d's backward_weight on tensor cores.
#include "cuda/conv2d_backward_weight.cuh"
#include "cuda/tensor/tensor_core.cuh"

namespace striate::cuda {

template void gemm_conv2d_backward_weight<Tf32>(float*, const float*, const float*,
                                                const Conv2dShape&);
template void gemm_conv2d_backward_weight<Bf16>(float*, const float*, const float*,
                                                const Conv2dShape&);

}  // namespace striate::cuda
