#include "striate/activation.h"

#include <cmath>

namespace striate::reference {

template <class T>
void relu_forward(T* y, const T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] <= 0 ? T(0) : x[i];
}

template <class T>
void relu_backward(T* dx, const T* dy, const T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dx[i] = y[i] <= 0 ? T(0) : dy[i];
}

template <class T>
void tanh_forward(T* y, const T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(std::tanh(double{x[i]}));
}

template <class T>
void tanh_backward(T* dx, const T* dy, const T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dx[i] = static_cast<T>(dy[i] * (1 - double{y[i]} * y[i]));
}

template <class T>
void sigmoid_forward(T* y, const T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(1 / (1 + std::exp(-double{x[i]})));
}

template <class T>
void sigmoid_backward(T* dx, const T* dy, const T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dx[i] = static_cast<T>(dy[i] * y[i] * (1 - double{y[i]}));
}

template void relu_forward(float*, const float*, int64_t);
template void relu_forward(double*, const double*, int64_t);
template void relu_backward(float*, const float*, const float*, int64_t);
template void relu_backward(double*, const double*, const double*, int64_t);
template void tanh_forward(float*, const float*, int64_t);
template void tanh_forward(double*, const double*, int64_t);
template void tanh_backward(float*, const float*, const float*, int64_t);
template void tanh_backward(double*, const double*, const double*, int64_t);
template void sigmoid_forward(float*, const float*, int64_t);
template void sigmoid_forward(double*, const double*, int64_t);
template void sigmoid_backward(float*, const float*, const float*, int64_t);
template void sigmoid_backward(double*, const double*, const double*, int64_t);

}  // namespace striate::reference
