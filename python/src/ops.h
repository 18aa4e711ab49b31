// The ops' registrations: each file binds one family, for float (both backends) and, in the
// submodule float64, for double (the reference, which the gradient tests compare with).
#pragma once

#include <pybind11/pybind11.h>

namespace striate::bindings {

template <class T>
void register_relu(pybind11::module_& m);

}  // namespace striate::bindings
