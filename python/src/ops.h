// The ops' registrations: each file binds one family, for float (both backends) and, in the
// submodule float64, for double (the reference, which the gradient tests compare with).
#pragma once

#include <pybind11/pybind11.h>

namespace striate::bindings {

template <class T>
void register_activation(pybind11::module_& m);
template <class T>
void register_adaptive_avg_pool2d(pybind11::module_& m);
template <class T>
void register_conv2d(pybind11::module_& m);
void register_conv2d_algorithm(pybind11::module_& m);
template <class T>
void register_cross_entropy(pybind11::module_& m);
template <class T>
void register_dropout(pybind11::module_& m);
template <class T>
void register_gemm(pybind11::module_& m);
template <class T>
void register_linear(pybind11::module_& m);
template <class T>
void register_local_response_norm(pybind11::module_& m);
template <class T>
void register_pool2d(pybind11::module_& m);
template <class T>
void register_sgd(pybind11::module_& m);
template <class T>
void register_softmax(pybind11::module_& m);

void register_plan(pybind11::module_& m);

}  // namespace striate::bindings
