// The activations. fmaf is written out where a product meets a sum, so that an element's bits do
// not depend on how the compiler treats the loop it stands in.
#include <cuda_runtime.h>

#include <cmath>

#include "cuda/elementwise.cuh"
#include "cuda/launch.h"
#include "striate/activation.h"

namespace striate::cuda {
namespace {

struct Relu {
  __device__ float operator()(float x) const { return x <= 0.0f ? 0.0f : x; }
};
struct ReluGradient {
  __device__ float operator()(float dy, float y) const { return y <= 0.0f ? 0.0f : dy; }
};

struct Tanh {
  __device__ float operator()(float x) const { return tanhf(x); }
};
struct TanhGradient {
  __device__ float operator()(float dy, float y) const { return dy * fmaf(-y, y, 1.0f); }
};

/// From exp(-|x|), which is at most 1: 1 + exp(-x) would lose a bit more where x is negative.
struct Sigmoid {
  __device__ float operator()(float x) const {
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
  }
};
struct SigmoidGradient {
  __device__ float operator()(float dy, float y) const { return dy * y * (1.0f - y); }
};

}  // namespace

void relu_forward(float* y, const float* x, int64_t n) {
  const Op op("relu_forward", {{"n", n}}, {.bytes = 8.0 * n});
  map(op, y, n, Relu{}, x);
}
void relu_backward(float* dx, const float* dy, const float* y, int64_t n) {
  const Op op("relu_backward", {{"n", n}}, {.bytes = 12.0 * n});
  map(op, dx, n, ReluGradient{}, dy, y);
}

void tanh_forward(float* y, const float* x, int64_t n) {
  const Op op("tanh_forward", {{"n", n}}, {.bytes = 8.0 * n});
  map(op, y, n, Tanh{}, x);
}
void tanh_backward(float* dx, const float* dy, const float* y, int64_t n) {
  const Op op("tanh_backward", {{"n", n}}, {.bytes = 12.0 * n});
  map(op, dx, n, TanhGradient{}, dy, y);
}

void sigmoid_forward(float* y, const float* x, int64_t n) {
  const Op op("sigmoid_forward", {{"n", n}}, {.bytes = 8.0 * n});
  map(op, y, n, Sigmoid{}, x);
}
void sigmoid_backward(float* dx, const float* dy, const float* y, int64_t n) {
  const Op op("sigmoid_backward", {{"n", n}}, {.bytes = 12.0 * n});
  map(op, dx, n, SigmoidGradient{}, dy, y);
}

}  // namespace striate::cuda
