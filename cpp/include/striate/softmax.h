// softmax, log_softmax: along one dimension of an array seen as (outer, classes, inner).
//
//   m_oi = max_c x_oci
//   softmax       y_oci = exp(x_oci - m_oi) / sum_k exp(x_oki - m_oi)
//   log_softmax   y_oci = x_oci - m_oi - log(sum_k exp(x_oki - m_oi))
//
//   softmax       dx_oci = y_oci * (dy_oci - sum_k dy_oki y_oki)
//   log_softmax   dx_oci = dy_oci - exp(y_oci) * sum_k dy_oki
//
// Subtracting the maximum keeps exp within (0, 1]. An entry of -inf has probability 0; a row with a
// NaN, with +inf, or of -inf only is NaN throughout, as in PyTorch.
// y may be x and dx may be dy. Outputs are written, not accumulated.
#pragma once

#include <cstdint>

namespace striate {

struct SoftmaxSizes {
  int64_t outer, classes, inner;
};

namespace reference {
template <class T>
void softmax_forward(T* y, const T* x, const SoftmaxSizes& sizes);
template <class T>
void softmax_backward(T* dx, const T* dy, const T* y, const SoftmaxSizes& sizes);
template <class T>
void log_softmax_forward(T* y, const T* x, const SoftmaxSizes& sizes);
template <class T>
void log_softmax_backward(T* dx, const T* dy, const T* y, const SoftmaxSizes& sizes);
}  // namespace reference

namespace cpu {
void softmax_forward(float* y, const float* x, const SoftmaxSizes& sizes);
void softmax_backward(float* dx, const float* dy, const float* y, const SoftmaxSizes& sizes);
void log_softmax_forward(float* y, const float* x, const SoftmaxSizes& sizes);
void log_softmax_backward(float* dx, const float* dy, const float* y, const SoftmaxSizes& sizes);
}  // namespace cpu

namespace cuda {
void softmax_forward(float* y, const float* x, const SoftmaxSizes& sizes);
void softmax_backward(float* dx, const float* dy, const float* y, const SoftmaxSizes& sizes);
void log_softmax_forward(float* y, const float* x, const SoftmaxSizes& sizes);
void log_softmax_backward(float* dx, const float* dy, const float* y, const SoftmaxSizes& sizes);
}  // namespace cuda

}  // namespace striate
