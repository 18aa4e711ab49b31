// linear: the fully connected layer.
//
//   forward           y[N, K] = x[N, C] w[K, C]^T + b[K]          (b may be nullptr)
//   backward_data    dx[N, C] = dy[N, K] w[K, C]
//   backward_weight  dw[K, C] = dy[N, K]^T x[N, C]
//   backward_bias       db[K] = sum over N of dy[N, K]
//
// N batch, C features in, K features out; all contiguous. Outputs are written, not accumulated.
#pragma once

#include <cstdint>

namespace striate {

struct LinearShape {
  int64_t N, C, K;
};

namespace reference {
template <class T>
void linear_forward(T* y, const T* x, const T* w, const T* b, const LinearShape& s);
template <class T>
void linear_backward_data(T* dx, const T* dy, const T* w, const LinearShape& s);
template <class T>
void linear_backward_weight(T* dw, const T* dy, const T* x, const LinearShape& s);
template <class T>
void linear_backward_bias(T* db, const T* dy, const LinearShape& s);
}  // namespace reference

namespace cpu {
void linear_forward(float* y, const float* x, const float* w, const float* b, const LinearShape& s);
void linear_backward_data(float* dx, const float* dy, const float* w, const LinearShape& s);
void linear_backward_weight(float* dw, const float* dy, const float* x, const LinearShape& s);
void linear_backward_bias(float* db, const float* dy, const LinearShape& s);
}  // namespace cpu

namespace cuda {
void linear_forward(float* y, const float* x, const float* w, const float* b, const LinearShape& s);
/// y = max(linear, 0), NaN staying NaN, in one pass.
void linear_relu_forward(float* y, const float* x, const float* w, const float* b,
                         const LinearShape& s);
void linear_backward_data(float* dx, const float* dy, const float* w, const LinearShape& s);
void linear_backward_weight(float* dw, const float* dy, const float* x, const LinearShape& s);
void linear_backward_bias(float* db, const float* dy, const LinearShape& s);
}  // namespace cuda

}  // namespace striate
