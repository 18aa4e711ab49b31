// conv2d's gradient of x without patches, for few input channels: every pixel of dy adds the sum of
// its channels' weights to the patch of dx under it, in a copy of dx whose channels stand last
// (kernels/conv2d_direct_backward.h). Nothing is multiplied by padding, as the convolution of dy by
// turned kernels does, nor by the zeros of dy.
#include <algorithm>

#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_pool.h"
#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"

namespace striate::cpu {
namespace {

// The part of dx that outputs reach, with channels last: its upper left corner is pixel
// (-pad_top, -pad_left).
struct Reach {
  int64_t H, W;

  explicit Reach(const Conv2dShape& s)
      : H((s.P - 1) * s.stride_h + (s.R - 1) * s.dilation_h + 1), W((s.Q - 1) * s.stride_w + s.S) {}
};

// dx[C, H, W] = what of it was reached, turned, else zero.
void turn_back(const Kernels& kernels, float* dx, const float* reached, const Reach& reach,
               const Conv2dShape& s) {
  const int64_t C = s.C / s.G, HW = s.H * s.W;
  if (s.pad_top == 0 && s.pad_left == 0 && reach.H == s.H && reach.W == s.W) {
    return kernels.turn_channels(dx, HW, reached, C, HW, C);
  }
  const int64_t top = std::max<int64_t>(0, -s.pad_top), left = std::max<int64_t>(0, -s.pad_left);
  const int64_t bottom = std::min(s.H, reach.H - s.pad_top);
  const int64_t right = std::min(s.W, reach.W - s.pad_left);
  if (top > 0 || left > 0 || bottom < s.H || right < s.W) std::fill_n(dx, C * HW, 0.0f);
  for (int64_t h = top; h < bottom && left < right; ++h) {
    kernels.turn_channels(dx + h * s.W + left, HW,
                          reached + ((h + s.pad_top) * reach.W + left + s.pad_left) * C, C,
                          right - left, C);
  }
}

// turn(to, image_group): writes the gradient of one group of one image, [P][Q][K].
template <class Turn>
void spread(float* dx, const Turn& turn, const float* w, const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G, C = s.C / s.G, row = round_up(s.S * C, kernel.lanes);
  const Reach reach(s);

  // w[k][r][s * C + c], padded.
  const Scratch turned(s.K * s.R * row), places(K);
  std::fill_n(turned.get(), s.K * s.R * row, 0.0f);
  for (int64_t k = 0; k < s.K; ++k) {
    for (int64_t c = 0; c < C; ++c) {
      for (int64_t r = 0; r < s.R; ++r) {
        const float* const from = w + ((k * C + c) * s.R + r) * s.S;
        float* const to = turned.get() + (k * s.R + r) * row + c;
        for (int64_t i = 0; i < s.S; ++i) to[i * C] = from[i];
      }
    }
  }
  auto* const place = reinterpret_cast<int32_t*>(places.get());
  for (int64_t k = 0; k < K; ++k) place[k] = static_cast<int32_t>(k * s.R * row);

  constexpr int64_t kLeastWork = 1 << 19;
  const int64_t grain = std::max<int64_t>(1, kLeastWork / (K * s.PQ() * s.CRS()));
  parallel_for(s.N * s.G, grain, [&](int64_t begin, int64_t end) {
    const int64_t size = reach.H * reach.W * C, most = K + kernel.lanes;
    // What is read past the last pixel by whole vectors, and the zeros that are added there.
    const int64_t slack = row + kernel.lanes * std::max<int64_t>(C, kernel.lanes);
    const Scratch reached(size + slack), last(s.PQ() * K + kernel.lanes), list(2 * most);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t g = i % s.G;
      std::fill_n(reached.get(), size + slack, 0.0f);
      turn(last.get(), i);
      kernel.direct_spread(reached.get(), last.get(),
                           {.P = s.P,
                            .Q = s.Q,
                            .K = K,
                            .R = s.R,
                            .w = turned.get() + g * K * s.R * row,
                            .w_place = place,
                            .w_row = row,
                            .w_used = s.S * C,
                            .dx_row = s.dilation_h * reach.W * C,
                            .dx_step_h = s.stride_h * reach.W * C,
                            .dx_step_w = s.stride_w * C,
                            .at = reinterpret_cast<int32_t*>(list.get()),
                            .value = list.get() + most});
      turn_back(kernel, dx + i * C * s.H * s.W, reached.get(), reach, s);
    }
  });
}

}  // namespace

// A pixel of dy multiplies S * C floats a kernel row and output channel, and then adds them to dx:
// it needs a vector of the former, enough of the latter, and all the weights in L1.
bool direct_spreads_data(const Conv2dShape& s) {
  constexpr int64_t kMostFloats = 6144;
  const int64_t row = s.S * (s.C / s.G), K = s.K / s.G;
  const int lanes = kernels().lanes;
  return s.dilation_w == 1 && row >= lanes && K >= 8 &&
         K * s.R * round_up(row, lanes) <= kMostFloats;
}

void direct_conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G;
  spread(
      dx,
      [&](float* to, int64_t i) {
        kernel.transpose(to, K, dy + i * K * s.PQ(), s.PQ(), K, s.PQ());
      },
      w, s);
}

void direct_conv2d_pool_backward_data(float* dx, const PooledGradient& gradient, const float* w,
                                      const Conv2dShape& s) {
  const Trace trace = trace_conv2d("conv2d_backward_data", s, Conv2dAlgorithm::direct);
  if (s.N * s.C * s.H * s.W == 0) return;
  const int64_t K = s.K / s.G, PQ = s.P / 2 * (s.Q / 2);
  spread(
      dx,
      [&](float* to, int64_t i) {
        std::fill_n(to, s.PQ() * K, 0.0f);
        for (int64_t k = 0, at = i * K * PQ; k < K; ++k) {
          for (const int64_t end = at + PQ; at < end; ++at) {
            to[gradient.indices[at] * K + k] = gradient.y[at] <= 0.0f ? 0.0f : gradient.dy[at];
          }
        }
      },
      w, s);
}

}  // namespace striate::cpu
