// sgd: one launch for up to kMostTensors tensors, cut into chunks of which none crosses a tensor; a
// small net has many small ones, and a launch costs more than updating a bias.
//
// fmaf is written out, so that an element's bits depend neither on how its tensor is aligned nor on
// where the rates come from.
#include <cuda_runtime.h>

#include <cmath>

#include "cuda/elementwise.cuh"
#include "cuda/launch.h"
#include "striate/sgd.h"

namespace striate::cuda {
namespace {

constexpr int kThreads = 256, kVectors = 2;
constexpr int kChunk = kThreads * kVectors * 4;

struct Tensor {
  float* w;
  const float* dw;
  float* v;
  int64_t n;
  unsigned first_chunk;  // of the launch's
  bool first, vector;
};

/// The tensors of one launch: less than the 4 KiB that every driver takes as parameters.
constexpr int kMostTensors = 96;
struct Table {
  Tensor tensors[kMostTensors];
  int count;
};

struct Rule {
  SgdRates rates;
  bool nesterov, maximize;

  /// Updates one weight and its velocity.
  __device__ void operator()(float& w, float dw, float& v, bool has_velocity, bool first) const {
    float g = maximize ? -dw : dw;
    if (rates.weight_decay != 0) g = fmaf(rates.weight_decay, w, g);
    float step = g;
    if (has_velocity) {
      v = first ? g : fmaf(rates.momentum, v, rates.keep * g);
      step = nesterov ? fmaf(rates.momentum, v, g) : v;
    }
    w = fmaf(-rates.lr, step, w);
  }
};

__device__ const Tensor& find(const Table& table, unsigned chunk) {
  int low = 0, high = table.count - 1;  // the last whose first chunk is not after this one
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (table.tensors[middle].first_chunk <= chunk) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return table.tensors[low];
}

__global__ void __launch_bounds__(kThreads)
    step_kernel(const Table table, Rule rule, const SgdRates* rates) {
  if (rates != nullptr) rule.rates = *rates;
  const Tensor& t = find(table, blockIdx.x);
  const int64_t begin = int64_t{blockIdx.x - t.first_chunk} * kChunk;
  const bool velocity = t.v != nullptr, reads = velocity && !t.first;

  if (t.vector && t.n - begin >= kChunk) {
    const int64_t at = begin / 4 + threadIdx.x;
    float4 w[kVectors], dw[kVectors], v[kVectors];
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int64_t j = at + i * kThreads;
      w[i] = reinterpret_cast<const float4*>(t.w)[j];
      dw[i] = reinterpret_cast<const float4*>(t.dw)[j];
      v[i] = reads ? reinterpret_cast<const float4*>(t.v)[j] : make_float4(0, 0, 0, 0);
    }
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      rule(w[i].x, dw[i].x, v[i].x, velocity, t.first);
      rule(w[i].y, dw[i].y, v[i].y, velocity, t.first);
      rule(w[i].z, dw[i].z, v[i].z, velocity, t.first);
      rule(w[i].w, dw[i].w, v[i].w, velocity, t.first);
      const int64_t j = at + i * kThreads;
      reinterpret_cast<float4*>(t.w)[j] = w[i];
      if (velocity) reinterpret_cast<float4*>(t.v)[j] = v[i];
    }
    return;
  }
  const int64_t end = t.n - begin < kChunk ? t.n : begin + kChunk;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    float w = t.w[i], v = reads ? t.v[i] : 0.0f;
    rule(w, t.dw[i], v, velocity, t.first);
    t.w[i] = w;
    if (velocity) t.v[i] = v;
  }
}

void step(const SgdTensor<float>* tensors, int64_t count, const Rule& rule, const SgdRates* rates) {
  int64_t n = 0;
  for (int64_t i = 0; i < count; ++i) n += tensors[i].n;
  const Op op("sgd_step", {{"tensors", count}, {"n", n}}, {.bytes = 20.0 * n});

  constexpr int64_t kMostChunks = int64_t{1} << 30;
  Table table = {};
  int64_t chunks = 0;
  const auto launch = [&] {
    if (table.count > 0) {
      op.launch({static_cast<unsigned>(chunks), kThreads}, step_kernel, table, rule, rates);
    }
    table.count = 0;
    chunks = 0;
  };
  for (int64_t i = 0; i < count; ++i) {
    const SgdTensor<float>& t = tensors[i];
    if (t.n == 0) continue;
    const int64_t more = (t.n + kChunk - 1) / kChunk;
    if (table.count == kMostTensors || chunks + more > kMostChunks) launch();
    table.tensors[table.count++] = {
        t.w, t.dw, t.v, t.n, static_cast<unsigned>(chunks), t.first, aligned(t.w, t.dw, t.v)};
    chunks += more;
  }
  launch();
}

}  // namespace

void sgd_step(const SgdTensor<float>* tensors, int64_t count, const SgdOptions& options) {
  const SgdRates rates = {static_cast<float>(options.lr), static_cast<float>(options.momentum),
                          static_cast<float>(1 - options.dampening),
                          static_cast<float>(options.weight_decay)};
  step(tensors, count, {rates, options.nesterov, options.maximize}, nullptr);
}

void sgd_step(const SgdTensor<float>* tensors, int64_t count, const SgdOptions& options,
              const SgdRates* rates) {
  step(tensors, count, {{}, options.nesterov, options.maximize}, rates);
}

}  // namespace striate::cuda
