#include "striate/linear.h"

namespace striate::reference {

template <class T>
void linear_forward(T* y, const T* x, const T* w, const T* b, const LinearShape& s) {
  for (int64_t n = 0; n < s.N; ++n) {
    for (int64_t k = 0; k < s.K; ++k) {
      double sum = b != nullptr ? b[k] : 0.0;
      for (int64_t c = 0; c < s.C; ++c) sum += static_cast<double>(x[n * s.C + c]) * w[k * s.C + c];
      y[n * s.K + k] = static_cast<T>(sum);
    }
  }
}

template <class T>
void linear_backward_data(T* dx, const T* dy, const T* w, const LinearShape& s) {
  for (int64_t n = 0; n < s.N; ++n) {
    for (int64_t c = 0; c < s.C; ++c) {
      double sum = 0;
      for (int64_t k = 0; k < s.K; ++k) {
        sum += static_cast<double>(dy[n * s.K + k]) * w[k * s.C + c];
      }
      dx[n * s.C + c] = static_cast<T>(sum);
    }
  }
}

template <class T>
void linear_backward_weight(T* dw, const T* dy, const T* x, const LinearShape& s) {
  for (int64_t k = 0; k < s.K; ++k) {
    for (int64_t c = 0; c < s.C; ++c) {
      double sum = 0;
      for (int64_t n = 0; n < s.N; ++n) {
        sum += static_cast<double>(dy[n * s.K + k]) * x[n * s.C + c];
      }
      dw[k * s.C + c] = static_cast<T>(sum);
    }
  }
}

template <class T>
void linear_backward_bias(T* db, const T* dy, const LinearShape& s) {
  for (int64_t k = 0; k < s.K; ++k) {
    double sum = 0;
    for (int64_t n = 0; n < s.N; ++n) sum += dy[n * s.K + k];
    db[k] = static_cast<T>(sum);
  }
}

template void linear_forward(float*, const float*, const float*, const float*, const LinearShape&);
template void linear_backward_data(float*, const float*, const float*, const LinearShape&);
template void linear_backward_weight(float*, const float*, const float*, const LinearShape&);
template void linear_backward_bias(float*, const float*, const LinearShape&);
template void linear_forward(double*, const double*, const double*, const double*,
                             const LinearShape&);
template void linear_backward_data(double*, const double*, const double*, const LinearShape&);
template void linear_backward_weight(double*, const double*, const double*, const LinearShape&);
template void linear_backward_bias(double*, const double*, const LinearShape&);

}  // namespace striate::reference
