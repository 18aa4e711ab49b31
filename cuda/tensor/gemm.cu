// gemm and linear on tensor cores.
#include "cuda/gemm.cuh"
#include "cuda/tensor/tensor_core.cuh"

namespace striate::cuda {

template void multiply_matrices_in<Tf32>(const char*, std::initializer_list<Op::Size>,
                                         const MatrixProduct&);
template void multiply_matrices_in<Bf16>(const char*, std::initializer_list<Op::Size>,
                                         const MatrixProduct&);

}  // namespace striate::cuda
