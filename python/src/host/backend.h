// Which implementation of an op runs: the plain loops of cpp/reference or the fast ones of cpp/cpu.
// (cuda/backend.h has the same names for cuda/.)
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <type_traits>

#include "striate/cross_entropy.h"
#include "without_gil.h"

namespace striate::bindings {

namespace py = pybind11;
namespace fast = striate::cpu;

/// True while STRIATE_BACKEND=reference or set_backend("reference") holds.
bool use_reference();

/// The function to call: `reference` where the user asked for it, else `fast`. float64, which only
/// the gradient tests use, has a reference and nothing else.
template <class Reference, class Fast>
Reference* choose(Reference* reference, Fast* fast) {
  if constexpr (std::is_same_v<Reference, Fast>) {
    return use_reference() ? reference : fast;
  } else {
    return reference;
  }
}

/// The total as a Python float.
template <class T>
py::object cross_entropy_total(const T* x, const CrossEntropy<T>& problem) {
  const auto op = choose(reference::cross_entropy_forward<T>, fast::cross_entropy_forward);
  double total = 0;
  {
    const WithoutGil nogil;
    total = op(nullptr, x, problem);
  }
  return py::float_(total);
}

/// Each position's loss; called without the GIL.
template <class T>
void cross_entropy_losses(T* losses, const T* x, const CrossEntropy<T>& problem) {
  choose(reference::cross_entropy_forward<T>, fast::cross_entropy_forward)(losses, x, problem);
}

void register_backend(py::module_& m);

}  // namespace striate::bindings
