// local_response_norm: divides each element by the energy of its neighbours across channels, so
// that strong responses inhibit the others at the same place (Krizhevsky et al. 2012, section 3.3).
//
//   x, y, dx, dy (N, C, L): L is the product of all axes after the channels.
//
//   forward    d[n, c, l] = k + alpha / size * sum over c - size / 2 <= j <= c + (size - 1) / 2 of
//                           x[n, j, l]^2, channels outside [0, C) counting as 0
//              y = x * d^-beta
//   backward   dx[n, c, l] = dy * d^-beta - 2 alpha beta / size * x[n, c, l] *
//                            sum over the j whose window holds c of
//                            (dy * x * d^(-beta - 1))[n, j, l]
//
// As in PyTorch (and Caffe) alpha is divided by the size, which the paper's text does not do, and a
// window of even size reaches one channel further down than up. The backward pass computes d again:
// that is cheaper than reading a stored one. Outputs are written, not accumulated, and overlap no
// input.
#pragma once

#include <cstdint>

namespace striate {

struct LocalResponseNorm {
  int64_t N, C, L;
  int64_t size;
  double alpha, beta, k;
};

namespace reference {
template <class T>
void local_response_norm_forward(T* y, const T* x, const LocalResponseNorm& s);
template <class T>
void local_response_norm_backward(T* dx, const T* dy, const T* x, const LocalResponseNorm& s);
}  // namespace reference

namespace cpu {
void local_response_norm_forward(float* y, const float* x, const LocalResponseNorm& s);
void local_response_norm_backward(float* dx, const float* dy, const float* x,
                                  const LocalResponseNorm& s);
}  // namespace cpu

namespace cuda {
void local_response_norm_forward(float* y, const float* x, const LocalResponseNorm& s);
void local_response_norm_backward(float* dx, const float* dy, const float* x,
                                  const LocalResponseNorm& s);
}  // namespace cuda

}  // namespace striate
