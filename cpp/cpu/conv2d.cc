// conv2d: chooses the algorithm (conv2d_algorithm.h), prepares the weights for it and runs it.
#include "striate/conv2d.h"

#include <algorithm>

#include "cpu/conv2d_prepared.h"
#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/parallel.h"
#include "cpu/trace.h"

namespace striate::cpu {
namespace {

// With stride 1 the gradient of x is a convolution itself: of dy, by the kernels turned by 180
// degrees and their channels exchanged, with what the padding leaves of a full one.
Conv2dShape turned_shape(const Conv2dShape& s) {
  const int64_t reach_h = (s.R - 1) * s.dilation_h, reach_w = (s.S - 1) * s.dilation_w;
  return {.N = s.N,
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
          .dilation_w = s.dilation_w};
}

void turn_weights(float* turned, const float* w, const Conv2dShape& s) {
  const int64_t K = s.K / s.G, C = s.C / s.G, RS = s.R * s.S;
  parallel_for(s.C, std::max<int64_t>(1, 16384 / (K * RS)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* from = w + (i / C * K * C + i % C) * RS;
      for (int64_t k = 0; k < K; ++k) {
        std::reverse_copy(from + k * C * RS, from + (k * C + 1) * RS, turned + (i * K + k) * RS);
      }
    }
  });
}

// Some algorithms have another way, which reads the weights as they are: GEMM multiplies by their
// transpose and adds the patches' gradients up (col2im), which pays where the turned convolution
// would see more pixels than there are; direct spreads each element of dy.
bool by_turning(Conv2dAlgorithm algorithm, const Conv2dShape& s) {
  const bool stride_1 = s.stride_h == 1 && s.stride_w == 1;
  switch (algorithm) {
    case Conv2dAlgorithm::gemm:
      return stride_1 && 4 * s.H * s.W <= 5 * s.PQ();
    case Conv2dAlgorithm::direct:
      return stride_1 && !direct_spreads_data(s);
    case Conv2dAlgorithm::winograd:
      break;
  }
  return true;
}

void run_backward_data(Conv2dAlgorithm algorithm, float* dx, const float* dy, const float* prepared,
                       const Conv2dShape& s) {
  if (by_turning(algorithm, s)) {
    conv2d_forward_of(algorithm, Conv2dPass::backward_data)
        .run(dx, dy, prepared, {}, turned_shape(s));
  } else if (algorithm == Conv2dAlgorithm::direct) {
    direct_conv2d_backward_data(dx, dy, prepared, s);
  } else {
    gemm_conv2d_backward_data(dx, dy, prepared, s);
  }
}

}  // namespace

int64_t conv2d_prepared_size(Conv2dAlgorithm algorithm, Conv2dPass pass, const Conv2dShape& s) {
  if (pass == Conv2dPass::forward) return conv2d_forward_of(algorithm, pass).weights_size(s);
  if (!by_turning(algorithm, s)) return s.K * s.CRS();
  return conv2d_forward_of(algorithm, pass).weights_size(turned_shape(s));
}

void conv2d_prepare(Conv2dAlgorithm algorithm, Conv2dPass pass, float* prepared, const float* w,
                    const Conv2dShape& s) {
  const Conv2dForward& forward = conv2d_forward_of(algorithm, pass);
  if (pass == Conv2dPass::forward) {
    forward.prepare_weights(prepared, w, s);
  } else if (!by_turning(algorithm, s)) {
    std::copy_n(w, s.K * s.CRS(), prepared);
  } else {
    const Scratch turned(s.K * s.CRS());
    turn_weights(turned.get(), w, s);
    forward.prepare_weights(prepared, turned.get(), turned_shape(s));
  }
}

void conv2d_forward_prepared(Conv2dAlgorithm algorithm, float* y, const float* x,
                             const float* prepared, const Conv2dFinish& finish,
                             const Conv2dShape& s) {
  if (s.N * s.K * s.PQ() == 0) return;
  const Trace trace = trace_conv2d("conv2d_forward", s, algorithm);
  conv2d_forward_of(algorithm, Conv2dPass::forward).run(y, x, prepared, finish, s);
}

void conv2d_backward_data_prepared(Conv2dAlgorithm algorithm, float* dx, const float* dy,
                                   const float* prepared, const Conv2dShape& s) {
  if (s.N * s.C * s.H * s.W == 0) return;
  const Trace trace = trace_conv2d("conv2d_backward_data", s, algorithm);
  run_backward_data(algorithm, dx, dy, prepared, s);
}

void conv2d_forward(float* y, const float* x, const float* w, const float* b,
                    const Conv2dShape& s) {
  if (s.N * s.K * s.PQ() == 0) return;
  const Conv2dAlgorithm algorithm = conv2d_algorithm(Conv2dPass::forward, s);
  const Trace trace = trace_conv2d("conv2d_forward", s, algorithm);
  const Scratch prepared(conv2d_prepared_size(algorithm, Conv2dPass::forward, s));
  conv2d_prepare(algorithm, Conv2dPass::forward, prepared.get(), w, s);
  conv2d_forward_of(algorithm, Conv2dPass::forward).run(y, x, prepared.get(), {.bias = b}, s);
}

void conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s) {
  if (s.N * s.C * s.H * s.W == 0) return;
  const Conv2dAlgorithm algorithm = conv2d_algorithm(Conv2dPass::backward_data, s);
  const Trace trace = trace_conv2d("conv2d_backward_data", s, algorithm);
  const Scratch prepared(conv2d_prepared_size(algorithm, Conv2dPass::backward_data, s));
  conv2d_prepare(algorithm, Conv2dPass::backward_data, prepared.get(), w, s);
  run_backward_data(algorithm, dx, dy, prepared.get(), s);
}

void conv2d_backward_weight(float* dw, const float* dy, const float* x, const Conv2dShape& s) {
  const int64_t size = s.K * s.CRS();
  if (size == 0) return;
  if (s.N * s.PQ() == 0) {
    std::fill(dw, dw + size, 0.0f);
    return;
  }
  const Conv2dAlgorithm algorithm = conv2d_algorithm(Conv2dPass::backward_weight, s);
  const Trace trace = trace_conv2d("conv2d_backward_weight", s, algorithm);
  switch (algorithm) {
    case Conv2dAlgorithm::gemm:
      return gemm_conv2d_backward_weight(dw, dy, x, s);
    case Conv2dAlgorithm::direct:
      return direct_conv2d_backward_weight(dw, dy, x, s);
    case Conv2dAlgorithm::winograd:
      return winograd_conv2d_backward_weight(dw, dy, x, s);
  }
}

void conv2d_backward_bias(float* db, const float* dy, const Conv2dShape& s) {
  const Trace trace("conv2d_backward_bias", {{"N", s.N}, {"K", s.K}, {"P", s.P}, {"Q", s.Q}},
                    {.bytes = 4.0 * s.N * s.K * s.PQ()});
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
