// The registrations that only striate._cuda has.
#pragma once

#include <pybind11/pybind11.h>

namespace striate::bindings {

namespace py = pybind11;

void register_device(py::module_& m);
void register_recorded(py::module_& m);

}  // namespace striate::bindings
