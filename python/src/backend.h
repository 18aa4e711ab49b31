// Which implementation of an op runs: the plain loops of cpp/reference or the fast ones of cpp/cpu.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace striate::bindings {

namespace py = pybind11;

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

void register_backend(py::module_& m);

}  // namespace striate::bindings
