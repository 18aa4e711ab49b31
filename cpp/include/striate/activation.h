// The activations: element by element on flat runs of n; what backward needs is forward's result.
//
//   relu      y = max(x, 0)            dx = dy where y > 0, else 0      (Nair, Hinton 2010)
//   tanh      y = tanh(x)              dx = dy * (1 - y^2)
//   sigmoid   y = 1 / (1 + exp(-x))    dx = dy * y * (1 - y)
//
// relu's subgradient at 0 is taken as 0. A NaN in x stays a NaN in y, and passes relu's gradient.
// y may be x and dx may be dy. Outputs are written, not accumulated.
#pragma once

#include <cstdint>

namespace striate {

namespace reference {
template <class T>
void relu_forward(T* y, const T* x, int64_t n);
template <class T>
void relu_backward(T* dx, const T* dy, const T* y, int64_t n);
template <class T>
void tanh_forward(T* y, const T* x, int64_t n);
template <class T>
void tanh_backward(T* dx, const T* dy, const T* y, int64_t n);
template <class T>
void sigmoid_forward(T* y, const T* x, int64_t n);
template <class T>
void sigmoid_backward(T* dx, const T* dy, const T* y, int64_t n);
}  // namespace reference

namespace cpu {
void relu_forward(float* y, const float* x, int64_t n);
void relu_backward(float* dx, const float* dy, const float* y, int64_t n);
void tanh_forward(float* y, const float* x, int64_t n);
void tanh_backward(float* dx, const float* dy, const float* y, int64_t n);
void sigmoid_forward(float* y, const float* x, int64_t n);
void sigmoid_backward(float* dx, const float* dy, const float* y, int64_t n);
}  // namespace cpu

namespace cuda {
void relu_forward(float* y, const float* x, int64_t n);
void relu_backward(float* dx, const float* dy, const float* y, int64_t n);
void tanh_forward(float* y, const float* x, int64_t n);
void tanh_backward(float* dx, const float* dy, const float* y, int64_t n);
void sigmoid_forward(float* y, const float* x, int64_t n);
void sigmoid_backward(float* dx, const float* dy, const float* y, int64_t n);
}  // namespace cuda

}  // namespace striate
