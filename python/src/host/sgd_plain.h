// sgd_step's way past the checks of each array, for lists of many small ones.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "arrays.h"
#include "striate/sgd.h"

namespace striate::bindings {

inline bool same_shape(const py::array& a, const py::array& b) {
  return a.ndim() == b.ndim() && std::equal(a.shape(), a.shape() + a.ndim(), b.shape());
}

// The tensors, if all arrays are as they should be; false, if one needs a closer look. `kept` holds
// the arrays while they are used.
template <class T>
bool plain_tensors(std::vector<SgdTensor<T>>& tensors, std::vector<py::object>& kept,
                   const py::sequence& params, const py::sequence& grads,
                   const std::optional<py::sequence>& buffers, const std::vector<bool>& first) {
  for (std::size_t i = 0; i < params.size(); ++i) {
    const py::object w = params[i], dw = grads[i], v = buffers ? (*buffers)[i] : w;
    if (!is_plain<T>(w) || !is_plain<T>(dw) || !is_plain<T>(v)) return false;
    auto weights = py::reinterpret_borrow<py::array>(w);
    auto velocity = py::reinterpret_borrow<py::array>(v);
    const auto gradient = py::reinterpret_borrow<py::array>(dw);
    if (!same_shape(weights, gradient) || !same_shape(weights, velocity)) return false;
    tensors.push_back({.w = static_cast<T*>(weights.mutable_data()),
                       .dw = static_cast<const T*>(gradient.data()),
                       .v = buffers ? static_cast<T*>(velocity.mutable_data()) : nullptr,
                       .n = weights.size(),
                       .first = buffers && first[i]});
    kept.insert(kept.end(), {w, dw, v});
  }
  return true;
}

}  // namespace striate::bindings
