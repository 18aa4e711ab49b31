// sgd: stochastic gradient descent with momentum, in torch's formulation (Sutskever, Martens, Dahl,
// Hinton 2013, with the learning rate outside the velocity), on a list of tensors, in one pass.
//
//   g  = dw + weight_decay * w                  (-dw where maximize)
//   v  = g                                      at a tensor's first step
//   v  = momentum * v + (1 - dampening) * g     at every other
//   w -= lr * (nesterov ? g + momentum * v : v)
//
// Without momentum (v == nullptr), w -= lr * g. A weight_decay of 0 is skipped, not multiplied by.
// w and v are updated in place and overlap nothing else; dw is read only.
#pragma once

#include <cstdint>

namespace striate {

template <class T>
struct SgdTensor {
  T* w;         // n parameters
  const T* dw;  // their gradient
  T* v;         // their velocity, torch's momentum_buffer; nullptr without momentum
  int64_t n;
  bool first;  // v holds nothing yet: it is written, not read
};

struct SgdOptions {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
};

namespace reference {
template <class T>
void sgd_step(const SgdTensor<T>* tensors, int64_t count, const SgdOptions& options);
}  // namespace reference

namespace cpu {
void sgd_step(const SgdTensor<float>* tensors, int64_t count, const SgdOptions& options);
}  // namespace cpu

namespace cuda {
/// What a step computes with; `options` as floats.
struct SgdRates {
  float lr, momentum, keep /* 1 - dampening */, weight_decay;
};

/// `tensors` is host memory, what its entries point to lies on the device.
void sgd_step(const SgdTensor<float>* tensors, int64_t count, const SgdOptions& options);
/// The same with the rates read from the device when the step runs, so that a recorded step follows
/// a schedule; of `options` only nesterov and maximize count.
void sgd_step(const SgdTensor<float>* tensors, int64_t count, const SgdOptions& options,
              const SgdRates* rates);
}  // namespace cuda

}  // namespace striate
