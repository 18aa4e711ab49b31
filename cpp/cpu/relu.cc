#include "striate/relu.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace striate::cpu {

void relu_forward(float* y, const float* x, int64_t n) {
  const Kernels& k = kernels();
  parallel_for(n, streaming_grain(8), [&](int64_t begin, int64_t end) {
    k.relu_forward(y + begin, x + begin, end - begin);
  });
}

void relu_backward(float* dx, const float* dy, const float* y, int64_t n) {
  const Kernels& k = kernels();
  parallel_for(n, streaming_grain(12), [&](int64_t begin, int64_t end) {
    k.relu_backward(dx + begin, dy + begin, y + begin, end - begin);
  });
}

}  // namespace striate::cpu
