// ReLU over a run of floats.
#pragma once

#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

static void relu_forward(float* y, const float* x, int64_t n) {
  // Written so that NaN stays NaN, as in PyTorch: it is not <= 0.
  map(y, n, [](Vec v) { return v <= 0.0f ? Vec{} : v; }, x);
}

static void relu_backward(float* dx, const float* dy, const float* y, int64_t n) {
  map(dx, n, [](Vec d, Vec v) { return v <= 0.0f ? Vec{} : d; }, dy, y);
}

}  // namespace striate::cpu::STRIATE_ISA
