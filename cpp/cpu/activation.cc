#include "striate/activation.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/trace.h"

namespace striate::cpu {
namespace {

// Items a chunk holds: of relu and the gradients, which wait for memory, and of tanh and sigmoid,
// whose arithmetic pays for waking a thread sooner.
constexpr int64_t kStreaming = 8192, kArithmetic = 4096;

template <class Kernel>
void forward(Kernel kernel, float* y, const float* x, int64_t n, int64_t grain) {
  parallel_for(n, grain,
               [&](int64_t begin, int64_t end) { kernel(y + begin, x + begin, end - begin); });
}

template <class Kernel>
void backward(Kernel kernel, float* dx, const float* dy, const float* y, int64_t n) {
  parallel_for(n, kStreaming, [&](int64_t begin, int64_t end) {
    kernel(dx + begin, dy + begin, y + begin, end - begin);
  });
}

}  // namespace

void relu_forward(float* y, const float* x, int64_t n) {
  const Trace trace("relu_forward", {{"n", n}}, {.bytes = 8.0 * n});
  forward(kernels().relu_forward, y, x, n, kStreaming);
}
void relu_backward(float* dx, const float* dy, const float* y, int64_t n) {
  const Trace trace("relu_backward", {{"n", n}}, {.bytes = 12.0 * n});
  backward(kernels().relu_backward, dx, dy, y, n);
}

void tanh_forward(float* y, const float* x, int64_t n) {
  const Trace trace("tanh_forward", {{"n", n}}, {.bytes = 8.0 * n});
  forward(kernels().tanh_forward, y, x, n, kArithmetic);
}
void tanh_backward(float* dx, const float* dy, const float* y, int64_t n) {
  const Trace trace("tanh_backward", {{"n", n}}, {.bytes = 12.0 * n});
  backward(kernels().tanh_backward, dx, dy, y, n);
}

void sigmoid_forward(float* y, const float* x, int64_t n) {
  const Trace trace("sigmoid_forward", {{"n", n}}, {.bytes = 8.0 * n});
  forward(kernels().sigmoid_forward, y, x, n, kArithmetic);
}
void sigmoid_backward(float* dx, const float* dy, const float* y, int64_t n) {
  const Trace trace("sigmoid_backward", {{"n", n}}, {.bytes = 12.0 * n});
  backward(kernels().sigmoid_backward, dx, dy, y, n);
}

}  // namespace striate::cpu
