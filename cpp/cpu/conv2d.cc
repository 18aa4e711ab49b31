// conv2d: chooses the algorithm (conv2d_algorithm.h) and runs it.
#include "striate/conv2d.h"

#include <algorithm>

#include "cpu/conv2d_algorithm.h"
#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/parallel.h"

namespace striate::cpu {
namespace {

void run_forward(Conv2dAlgorithm algorithm, float* y, const float* x, const float* w,
                 const Conv2dFinish& finish, const Conv2dShape& s) {
  const Conv2dForward& forward = conv2d_forward_of(algorithm);
  const Scratch weights(forward.weights_size(s));
  forward.prepare_weights(weights.get(), w, s);
  forward.run(y, x, weights.get(), finish, s);
}

// With stride 1 the gradient of x is a convolution itself: of dy, by the kernels turned by 180
// degrees and their channels exchanged, with what the padding leaves of a full one.
void backward_data_by_forward(Conv2dAlgorithm algorithm, float* dx, const float* dy, const float* w,
                              const Conv2dShape& s) {
  const int64_t K = s.K / s.G, C = s.C / s.G, RS = s.R * s.S;
  const Scratch turned(s.C * K * RS);
  parallel_for(s.C, std::max<int64_t>(1, 16384 / (K * RS)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* from = w + (i / C * K * C + i % C) * RS;
      for (int64_t k = 0; k < K; ++k) {
        std::reverse_copy(from + k * C * RS, from + (k * C + 1) * RS,
                          turned.get() + (i * K + k) * RS);
      }
    }
  });
  const int64_t reach_h = (s.R - 1) * s.dilation_h, reach_w = (s.S - 1) * s.dilation_w;
  run_forward(algorithm, dx, dy, turned.get(), {},
              {.N = s.N,
               .C = s.K,
               .H = s.P,
               .W = s.Q,
               .K = s.C,
               .R = s.R,
               .S = s.S,
               .P = s.H,
               .Q = s.W,
               .G = s.G,
               .pad_top = reach_h - s.pad_top,
               .pad_left = reach_w - s.pad_left,
               .pad_bottom = reach_h - s.pad_bottom,
               .pad_right = reach_w - s.pad_right,
               .dilation_h = s.dilation_h,
               .dilation_w = s.dilation_w});
}

}  // namespace

void conv2d_forward(float* y, const float* x, const float* w, const float* b,
                    const Conv2dShape& s) {
  if (s.N * s.K * s.PQ() == 0) return;
  run_forward(conv2d_algorithm(Conv2dPass::forward, s), y, x, w, {.bias = b}, s);
}

void conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s) {
  if (s.N * s.C * s.H * s.W == 0) return;
  const Conv2dAlgorithm algorithm = conv2d_algorithm(Conv2dPass::backward_data, s);
  const bool stride_1 = s.stride_h == 1 && s.stride_w == 1;
  if (algorithm == Conv2dAlgorithm::gemm && !(stride_1 && 4 * s.H * s.W <= 5 * s.PQ())) {
    return gemm_conv2d_backward_data(dx, dy, w, s);
  }
  backward_data_by_forward(algorithm, dx, dy, w, s);
}

void conv2d_backward_weight(float* dw, const float* dy, const float* x, const Conv2dShape& s) {
  const int64_t size = s.K * s.CRS();
  if (size == 0) return;
  if (s.N * s.PQ() == 0) {
    std::fill(dw, dw + size, 0.0f);
    return;
  }
  gemm_conv2d_backward_weight(dw, dy, x, s);
}

void conv2d_backward_bias(float* db, const float* dy, const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, s.N * s.PQ()));
  parallel_for(s.K, grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      double total = 0;
      for (int64_t n = 0; n < s.N; ++n) total += kernel.sum(dy + (n * s.K + k) * s.PQ(), s.PQ());
      db[k] = static_cast<float>(total);
    }
  });
}

}  // namespace striate::cpu
