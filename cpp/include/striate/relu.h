// relu: the rectified linear unit (Nair, Hinton 2010), and its subgradient.
//
//   forward    y = max(x, 0)
//   backward   dx = dy where y > 0, else 0      (the subgradient at 0 is taken as 0)
//
// A NaN in x stays a NaN in y, and passes its gradient. Arrays are flat runs of n elements;
// y may be x and dx may be dy. Outputs are written, not accumulated.
#pragma once

#include <cstdint>

namespace striate {

namespace reference {
template <class T>
void relu_forward(T* y, const T* x, int64_t n);
template <class T>
void relu_backward(T* dx, const T* dy, const T* y, int64_t n);
}  // namespace reference

namespace cpu {
void relu_forward(float* y, const float* x, int64_t n);
void relu_backward(float* dx, const float* dy, const float* y, int64_t n);
}  // namespace cpu

}  // namespace striate
