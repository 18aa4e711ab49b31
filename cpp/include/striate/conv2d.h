// conv2d: two-dimensional cross-correlation in groups (what networks call convolution).
//
//   forward            y[n, k, p, q]  = b[k] + sum over c, r, s of w[k, c, r, s] * x[n, C', h, w']
//   backward_data     dx[n, C', h, w'] = sum over k, r, s of w[k, c, r, s] * dy[n, k, p, q]
//   backward_weight   dw[k, c, r, s]  = sum over n, p, q of dy[n, k, p, q] * x[n, C', h, w']
//   backward_bias     db[k]           = sum over n, p, q of dy[n, k, p, q]
//
//   with  h  = p * stride_h - pad_top  + r * dilation_h,
//         w' = q * stride_w - pad_left + s * dilation_w,  x = 0 outside the image,
//         C' = g * C / G + c,  g = k / (K / G) the group of output channel k.
//
// x[N, C, H, W], w[K, C/G, R, S], b[K] (may be nullptr), y[N, K, P, Q], all contiguous. The four
// pads may differ (ONNX, padding='same'). Outputs are written, not accumulated. The zeros of the
// padding may be multiplied: where a factor is infinite, NaN may come of it.
//
// cpu:: may compute kernels of 3 and 5 with stride 1 by Winograd's minimal filtering (Lavin, Gray
// 2016). Its rounding errors stay below 4e-6 of the output's root mean square in their own, and
// below 5e-5 of it at the largest (on AlexNet's layers: 2.8e-6 and 4.7e-5); and a NaN or an infinity
// may make NaN of the outputs in its tile of up to 5 x 5, or of all weights' gradients of its channel.
#pragma once

#include <cstdint>

namespace striate {

struct Conv2dShape {
  int64_t N, C, H, W;  // batch, channels in, input height and width
  int64_t K, R, S;     // channels out, kernel height and width
  int64_t P, Q;        // output height and width: conv2d_output
  int64_t G = 1;       // groups
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t dilation_h = 1, dilation_w = 1;

  int64_t CRS() const { return C / G * R * S; }  // depth of one output's sum
  int64_t PQ() const { return P * Q; }
};

/// Output pixels along one axis; zero or less where the kernel does not fit the padded input.
inline int64_t conv2d_output(int64_t size, int64_t pads, int64_t kernel, int64_t stride,
                             int64_t dilation) {
  const int64_t room = size + pads - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

namespace reference {
template <class T>
void conv2d_forward(T* y, const T* x, const T* w, const T* b, const Conv2dShape& s);
template <class T>
void conv2d_backward_data(T* dx, const T* dy, const T* w, const Conv2dShape& s);
template <class T>
void conv2d_backward_weight(T* dw, const T* dy, const T* x, const Conv2dShape& s);
template <class T>
void conv2d_backward_bias(T* db, const T* dy, const Conv2dShape& s);
}  // namespace reference

namespace cpu {
void conv2d_forward(float* y, const float* x, const float* w, const float* b, const Conv2dShape& s);
void conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s);
void conv2d_backward_weight(float* dw, const float* dy, const float* x, const Conv2dShape& s);
void conv2d_backward_bias(float* db, const float* dy, const Conv2dShape& s);
}  // namespace cpu

namespace cuda {
void conv2d_forward(float* y, const float* x, const float* w, const float* b, const Conv2dShape& s);
/// y = max(conv2d, 0), NaN staying NaN, in one pass.
void conv2d_relu_forward(float* y, const float* x, const float* w, const float* b,
                         const Conv2dShape& s);
void conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s);
void conv2d_backward_weight(float* dw, const float* dy, const float* x, const Conv2dShape& s);
void conv2d_backward_bias(float* db, const float* dy, const Conv2dShape& s);
}  // namespace cuda

}  // namespace striate
