// The SGD update over a run of floats: w and v are read and written once.
#pragma once

#include "cpu/kernels/simd.h"
#include "striate/sgd.h"

namespace striate::cpu::STRIATE_ISA {

// The options are the same for every element, so their branches are predicted; the loop waits for
// memory, and specialising it for them gains nothing.
static void sgd_step(float* w, const float* dw, float* v, int64_t n, bool first,
                     const SgdOptions& o) {
  const Vec lr = broadcast(static_cast<float>(o.lr));
  const Vec momentum = broadcast(static_cast<float>(o.momentum));
  const Vec take = broadcast(static_cast<float>(1 - o.dampening));
  const Vec decay = broadcast(static_cast<float>(o.weight_decay));
  const bool decays = o.weight_decay != 0, nesterov = o.nesterov, maximize = o.maximize;

  // Returns the new weights; `velocity` is read and written.
  const auto update = [&](Vec weight, Vec gradient, Vec& velocity) {
    Vec g = maximize ? -gradient : gradient;
    if (decays) g += decay * weight;
    if (v == nullptr) return weight - lr * g;
    velocity = first ? g : momentum * velocity + take * g;
    return weight - lr * (nesterov ? g + momentum * velocity : velocity);
  };

  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vec velocity = v != nullptr ? load(v + i) : Vec{};
    store(w + i, update(load(w + i), load(dw + i), velocity));
    if (v != nullptr) store(v + i, velocity);
  }
  if (i < n) {
    Vec velocity = v != nullptr ? load_first(v + i, n - i) : Vec{};
    store_first(w + i, update(load_first(w + i, n - i), load_first(dw + i, n - i), velocity),
                n - i);
    if (v != nullptr) store_first(v + i, velocity, n - i);
  }
}

}  // namespace striate::cpu::STRIATE_ISA
