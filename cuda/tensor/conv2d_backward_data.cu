// conv2d's backward_data on tensor cores.
#include "cuda/conv2d_backward_data.cuh"
#include "cuda/tensor/tensor_core.cuh"

namespace striate::cuda {

template void gemm_conv2d_backward_data<Tf32>(float*, const float*, const float*,
                                              const Conv2dShape&);
template void gemm_conv2d_backward_data<Bf16>(float*, const float*, const float*,
                                              const Conv2dShape&);

}  // namespace striate::cuda
