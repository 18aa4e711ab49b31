// A build without code for GPUs that have tensor cores for float32 sums.
#include <stdexcept>

#include "cuda/conv2d_gemm.h"
#include "cuda/gemm.h"

namespace striate::cuda {
namespace {

[[noreturn]] void refuse() {
  throw std::runtime_error(
      "this build of Striate has no code for tensor cores: set_precision('float32'), or install it "
      "where a GPU of compute capability 8.0 or newer is");
}

}  // namespace

template <class Math>
void multiply_matrices_in(const char*, std::initializer_list<Op::Size>, const MatrixProduct&) {
  refuse();
}

template <class Math>
void gemm_conv2d_forward(const char*, float*, const float*, const float*, const float*, bool,
                         const Conv2dShape&) {
  refuse();
}

template <class Math>
void gemm_conv2d_backward_data(float*, const float*, const float*, const Conv2dShape&) {
  refuse();
}

template <class Math>
void gemm_conv2d_backward_weight(float*, const float*, const float*, const Conv2dShape&) {
  refuse();
}

template void multiply_matrices_in<Tf32>(const char*, std::initializer_list<Op::Size>,
                                         const MatrixProduct&);
template void multiply_matrices_in<Bf16>(const char*, std::initializer_list<Op::Size>,
                                         const MatrixProduct&);
template void gemm_conv2d_forward<Tf32>(const char*, float*, const float*, const float*,
                                        const float*, bool, const Conv2dShape&);
template void gemm_conv2d_forward<Bf16>(const char*, float*, const float*, const float*,
                                        const float*, bool, const Conv2dShape&);
template void gemm_conv2d_backward_data<Tf32>(float*, const float*, const float*,
                                              const Conv2dShape&);
template void gemm_conv2d_backward_data<Bf16>(float*, const float*, const float*,
                                              const Conv2dShape&);
template void gemm_conv2d_backward_weight<Tf32>(float*, const float*, const float*,
                                                const Conv2dShape&);
template void gemm_conv2d_backward_weight<Bf16>(float*, const float*, const float*,
                                                const Conv2dShape&);

}  // namespace striate::cuda
