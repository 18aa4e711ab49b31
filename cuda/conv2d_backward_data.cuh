// conv2d's gradient of x: w[C, (k, r, s)], the transpose, x what each input pixel was seen by
// [(k, r, s), (n, h, w)], in each group.
//
// With strides, an input pixel meets only each stride_h-th row of the kernel: which ones, its row
// h + pad_top modulo stride_h says, its phase. Each pair of phases is a product of its own, of its
// pixels and its taps; no zeros are multiplied.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "cuda/conv2d_gemm.h"
#include "cuda/im2col.cuh"
#include "cuda/multiply.h"
#include "cuda/operand.cuh"
#include "cuda/store.cuh"

namespace striate::cuda {

// As for the output.
using DataTiles = TileList<Tile<128, 128, 8, 8, 8>, Tile<64, 128, 8, 8, 8>, Tile<32, 128, 8, 4, 8>,
                           Tile<16, 128, 4, 4, 16>, Tile<8, 128, 4, 4, 16>>;

/// Along one axis: the taps tap, tap + step, ... below the kernel's size, and the pixels first,
/// first + stride, ... below the input's size, which they meet. Output origin + i - j * reach sees
/// pixel i through tap j.
struct Phase {
  int64_t tap, step, taps, first, pixels, origin, reach;

  Phase(int64_t tap, int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation)
      : tap(tap), step(stride / std::gcd(stride, dilation)) {
    taps = (kernel - tap + step - 1) / step;
    first = ((tap * dilation - pad) % stride + stride) % stride;
    pixels = first < size ? (size - first + stride - 1) / stride : 0;
    origin = (first + pad - tap * dilation) / stride;
    reach = step * dilation / stride;
  }
};

/// Those of an axis that have pixels and taps; `covered` counts the pixels.
struct Phases {
  std::vector<Phase> list;
  int64_t covered = 0;

  Phases(int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
    for (int64_t tap = 0; tap < kernel; ++tap) {
      const Phase phase(tap, size, kernel, stride, pad, dilation);
      if (tap >= phase.step) break;  // an earlier one's
      if (phase.pixels > 0) list.push_back(phase);
      covered += phase.pixels;
    }
  }
};

/// Weights of one phase: [G, k, taps of h, taps of w, C / G], read along the channels. (`Math` as in
/// tile.cuh.)
struct PhaseWeights {
  int64_t C, R, S;  // of a group
  Divide channel, w, h;
  int64_t tap_h, tap_w, step_h, step_w;
};

template <class Math>
__global__ void phase_weights_kernel(float* to, const float* from, const PhaseWeights s,
                                     int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int64_t kts = quotient(i, s.channel), c = i - kts * s.channel.divisor();
  const int64_t kt = quotient(kts, s.w), s_ = kts - kt * s.w.divisor();
  const int64_t k = quotient(kt, s.h), r = kt - k * s.h.divisor();  // k: of all groups
  to[i] =
      __ldg(from + ((k * s.C + c) * s.R + s.tap_h + r * s.step_h) * s.S + s.tap_w + s_ * s.step_w);
}

template <class Math>
Plan plan_phase(const Conv2dShape& s, const Phase& h, const Phase& v) {
  return make_plan<Math>(DataTiles{}, s.C / s.G, s.N * h.pixels * v.pixels,
                         s.K / s.G * h.taps * v.taps, s.G, kMostTerms);
}

template <class Math>
void run_phase(const Op& op, float* dx, const float* dy, const float* w, const Conv2dShape& s,
               const Phase& h, const Phase& v) {
  const int64_t C = s.C / s.G, K = s.K / s.G, PQ = s.PQ(), HW = s.H * s.W;
  const Plan plan = plan_phase<Math>(s, h, v);
  const int64_t pixels = plan.work.columns, taps = plan.work.depth;

  // A kernel of one tap lies in memory as it is read.
  const bool arranged = s.R * s.S == 1;
  const int64_t count = s.G * taps * C;
  const Scratch scratch(arranged ? 0 : count);
  if (!arranged && count > 0) {
    constexpr int kThreads = 256;
    op.launch({blocks(count, kThreads), kThreads}, phase_weights_kernel<Math>, scratch.get(), w,
              PhaseWeights{C, s.R, s.S, divide_by(C), divide_by(v.taps), divide_by(h.taps), h.tap,
                           v.tap, h.step, v.step},
              count);
  }
  const float* const weights = arranged ? w : scratch.get();

  const TapsByPixels seen{{.x = dy,
                           .H = static_cast<int>(s.P),
                           .W = static_cast<int>(s.Q),
                           .channel_stride = PQ,
                           .image_stride = s.K * PQ,
                           .group_stride = K * PQ,
                           .taps = taps,
                           .RS = divide_by(h.taps * v.taps),
                           .S = divide_by(v.taps),
                           .step_h = static_cast<int>(-h.reach),
                           .step_w = static_cast<int>(-v.reach),
                           .pixels = pixels,
                           .PQ = divide_by(h.pixels * v.pixels),
                           .Q = divide_by(v.pixels),
                           .stride_h = 1,
                           .stride_w = 1,
                           .origin_h = static_cast<int>(h.origin),
                           .origin_w = static_cast<int>(v.origin)}};
  const bool dense = s.stride_h == 1 && s.stride_w == 1;
  const PixelStore store{.y = dx,
                         .rows = C,
                         .pixels = pixels,
                         .channel_stride = HW,
                         .image_stride = s.C * HW,
                         .PQ = seen.PQ,
                         .Q = seen.Q,
                         .first = h.first * s.W + v.first,
                         .step_h = s.stride_h * s.W,
                         .step_w = s.stride_w,
                         .dense = dense,
                         .vectors = dense && in_fours(dx, HW, HW)};
  if (in_fours(weights, C, C)) {
    multiply<Math>(DataTiles{}, plan, op, WidthContiguous<4>{weights, C, C, taps * C}, seen, store);
  } else {
    multiply<Math>(DataTiles{}, plan, op, WidthContiguous<1>{weights, C, C, taps * C}, seen, store);
  }
}

template <class Math>
void gemm_conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s) {
  const Phases h(s.H, s.R, s.stride_h, s.pad_top, s.dilation_h);
  const Phases v(s.W, s.S, s.stride_w, s.pad_left, s.dilation_w);
  const bool any = !h.list.empty() && !v.list.empty();
  const std::string algorithm =
      any ? plan_phase<Math>(s, h.list[0], v.list[0]).template algorithm<Math>() : "zeros";
  const Op op = conv2d_op("conv2d_backward_data", s, algorithm.c_str());
  if (h.covered < s.H || v.covered < s.W) op.clear(dx, s.N * s.C * s.H * s.W * sizeof(float));
  for (const Phase& down : h.list) {
    for (const Phase& across : v.list) run_phase<Math>(op, dx, dy, w, s, down, across);
  }
}

}  // namespace striate::cuda
