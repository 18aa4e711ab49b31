// conv2d, ReLU and a 2x2 max pooling with stride 2 as one op, by direct convolution: the convolution's
// output, four times as large as what is pooled, never leaves the cache, and of its gradient only
// what is not zero is ever written. Every result has the bits of the separate ops by the same
// algorithm, but for db's last one: its sum is taken in another order.
//
//   forward           y[N, K, P/2, Q/2] = max_pool2d(max(0, conv2d(x, w) + b)), indices as
//                     max_pool2d_forward writes them (h * Q + w of the winner; may be nullptr)
//   backward_weight   dw, db of the convolution from the gradient of the pooled map
//   backward_data     dx likewise
//
// That is of LeNet-5's layers; where direct_spreads_data or the share of zeros in dy let the
// separate ops take another way, sums are taken in another order.
//
// An odd last row or column of the convolution's output belongs to no window. Weights are prepared
// by direct_prepare_weights (conv2d_algorithm.h). With STRIATE_CONV and by shape, conv2d_algorithm
// tells whether `direct` is what the separate ops would take; direct_can_run whether it can.
#pragma once

#include <cstdint>

#include "striate/conv2d.h"

namespace striate::cpu {

/// Where dy's elements are taken one by one, a plane of it is one sum: longer ones would lose digits.
constexpr int64_t kDirectLongestSum = int64_t{1} << 16;

/// The gradient of a pooled map [N, K, P/2, Q/2], with what forward wrote.
struct PooledGradient {
  const float* dy;
  const int32_t* indices;
  const float* y;
};

void direct_conv2d_pool_forward(float* y, int32_t* indices, const float* x, const float* packed,
                                const float* bias, const Conv2dShape& s);

/// Writes dw and, unless it is nullptr, db.
void direct_conv2d_pool_backward_weight(float* dw, float* db, const PooledGradient& gradient,
                                        const float* x, const Conv2dShape& s);

void direct_conv2d_pool_backward_data(float* dx, const PooledGradient& gradient, const float* w,
                                      const Conv2dShape& s);

}  // namespace striate::cpu
