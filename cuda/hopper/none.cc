// A build without code for compute capability 9.0a.
#include <stdexcept>

#include "cuda/hopper/gemm.h"

namespace striate::cuda {

bool hopper_gemm_takes(const GemmShape&, const float*, const float*, Precision) { return false; }

void hopper_gemm(float*, const float*, const float*, const float*, bool, float, float,
                 const GemmShape&, Precision) {
  throw std::logic_error("hopper_gemm: this build of Striate has no code for it");
}

}  // namespace striate::cuda
