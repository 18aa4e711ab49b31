// The activations over a run of floats.
#pragma once

#include "cpu/kernels/math.h"
#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

static void relu_forward(float* y, const float* x, int64_t n) {
  map(y, n, [](Vec v) { return relu(v); }, x);
}

static void relu_backward(float* dx, const float* dy, const float* y, int64_t n) {
  map(dx, n, [](Vec d, Vec v) { return v <= 0.0f ? Vec{} : d; }, dy, y);
}

static void tanh_forward(float* y, const float* x, int64_t n) {
  map(y, n, [](Vec v) { return tanh(v); }, x);
}

static void tanh_backward(float* dx, const float* dy, const float* y, int64_t n) {
  map(dx, n, [](Vec d, Vec v) { return d * (1.0f - v * v); }, dy, y);
}

static void sigmoid_forward(float* y, const float* x, int64_t n) {
  map(y, n, [](Vec v) { return sigmoid(v); }, x);
}

static void sigmoid_backward(float* dx, const float* dy, const float* y, int64_t n) {
  map(dx, n, [](Vec d, Vec v) { return d * v * (1.0f - v); }, dy, y);
}

}  // namespace striate::cpu::STRIATE_ISA
