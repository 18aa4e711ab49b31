// adaptive_avg_pool2d: the mean of each of P x Q windows that share a plane out among them.
//
//   x (N, C, H, W) -> y (N, C, P, Q). Window p covers the rows floor(p * H / P) up to, without it,
//   ceil((p + 1) * H / P), window q the columns likewise. Neighbours touch where P divides H, else
//   they may overlap by one row. P may be larger than H: rows are then repeated.
//
//   forward    y = sum over the window / its number of elements
//   backward   dx = sum over the windows that hold the element of dy / their number of elements
//
// Outputs are written, not accumulated. H, W, P and Q are at least 1. (The windows are torch's;
// torchvision's AlexNet so takes images of any size to 6 x 6.)
#pragma once

#include <cstdint>

namespace striate {

struct AdaptiveAvgPool2dShape {
  int64_t N, C, H, W;  // input
  int64_t P, Q;        // output
};

/// The input positions [begin, end) of one window along one axis.
struct AdaptiveWindow {
  int64_t begin, end;
};

/// Static, not just inline: see pool2d.h.
static constexpr AdaptiveWindow adaptive_window(int64_t output, int64_t input, int64_t outputs) {
  return {output * input / outputs, ((output + 1) * input + outputs - 1) / outputs};
}

namespace reference {
template <class T>
void adaptive_avg_pool2d_forward(T* y, const T* x, const AdaptiveAvgPool2dShape& s);
template <class T>
void adaptive_avg_pool2d_backward(T* dx, const T* dy, const AdaptiveAvgPool2dShape& s);
}  // namespace reference

namespace cpu {
void adaptive_avg_pool2d_forward(float* y, const float* x, const AdaptiveAvgPool2dShape& s);
void adaptive_avg_pool2d_backward(float* dx, const float* dy, const AdaptiveAvgPool2dShape& s);
}  // namespace cpu

namespace cuda {
void adaptive_avg_pool2d_forward(float* y, const float* x, const AdaptiveAvgPool2dShape& s);
void adaptive_avg_pool2d_backward(float* dx, const float* dy, const AdaptiveAvgPool2dShape& s);
}  // namespace cuda

}  // namespace striate
