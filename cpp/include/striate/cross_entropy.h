// cross_entropy: the negative log-likelihood of the softmax of logits, fused, as in PyTorch.
//
// x is (outer, classes, inner); each of the rows = outer * inner positions i has a loss. With
// p_ic = softmax(x)_ic, w_c the class weights (1 without) and e the label smoothing, it is
//
//   labels t_i           l_i = -(1 - e) w_t log p_it - (e / classes) sum_c w_c log p_ic
//   probabilities q_ic   l_i = -sum_c ((1 - e) q_ic + e / classes) w_c log p_ic
//
// (label smoothing: Szegedy et al. 2016, section 7). A position whose label is ignore_index has
// loss 0 and gradient 0, whatever its logits. The total is sum_i l_i, in double, or, for the mean,
// divided by sum_i w_t over the positions that are not ignored, or by the rows for probabilities:
// 0 / 0 = NaN where there are none. With g_i the gradient of the loss l_i,
//
//   labels               dx_ic = g_i (((1 - e) w_t + e / classes sum_k w_k) p_ic
//                                     - (1 - e) w_t [c = t] - (e / classes) w_c)
//   probabilities        dx_ic = g_i (p_ic sum_k r_ik - r_ic),  r_ic = ((1 - e) q_ic + e / C) w_c
//
// Outputs are written, not accumulated, and overlap no input.
#pragma once

#include <cstdint>

#include "striate/softmax.h"

namespace striate {

/// Everything but the logits. One of labels and probabilities is given, the other is nullptr.
template <class T>
struct CrossEntropy {
  SoftmaxSizes sizes;
  const int64_t* labels;   // (outer, inner), each a class or ignore_index: the caller has checked
  const T* probabilities;  // (outer, classes, inner)
  const T* weight;         // (classes), or nullptr
  int64_t ignore_index;
  double label_smoothing;  // 0 <= e <= 1; 0 is skipped, not multiplied by
  bool mean;               // what the total is; otherwise the sum
};

namespace reference {
/// Returns the total; `losses` (outer, inner) is written unless it is nullptr.
template <class T>
double cross_entropy_forward(T* losses, const T* x, const CrossEntropy<T>& problem);
/// `dy` (outer, inner) is the gradient of each loss; where it is nullptr, dy_total is the total's.
template <class T>
void cross_entropy_backward(T* dx, const T* dy, double dy_total, const T* x,
                            const CrossEntropy<T>& problem);
}  // namespace reference

namespace cpu {
double cross_entropy_forward(float* losses, const float* x, const CrossEntropy<float>& problem);
void cross_entropy_backward(float* dx, const float* dy, double dy_total, const float* x,
                            const CrossEntropy<float>& problem);
}  // namespace cpu

namespace cuda {
/// `total`, on the device, is written instead of returned: nothing waits for it. A label that is no
/// class and not ignore_index makes its loss and its part of dx NaN.
void cross_entropy_forward(float* losses, double* total, const float* x,
                           const CrossEntropy<float>& problem);
void cross_entropy_backward(float* dx, const float* dy, double dy_total, const float* x,
                            const CrossEntropy<float>& problem);
/// Writes to `place`, on the device, the smallest i whose label is no class and not ignore_index,
/// or -1.
void cross_entropy_find_bad_label(int64_t* place, const CrossEntropy<float>& problem);
}  // namespace cuda

}  // namespace striate
